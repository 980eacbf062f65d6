// The file system's operations on the backing directory, by noun: names, files, attributes, directories. Knows nothing of FUSE
// messages: fuse_ops.cpp turns requests into these calls and their results into replies.
#pragma once

#include <sys/statvfs.h>

#include <ctime>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/os/file.hpp"
#include "master/locks.hpp"
#include "master/mutator.hpp"
#include "master/node_table.hpp"
#include "master/settler.hpp"

namespace tdfs {

// Who asks. New objects are created as this user; everything else is done as root, after the kernel has checked.
struct Caller {
    uid_t uid = 0;
    gid_t gid = 0;
    mode_t umask = 0;
};

// Given where the caller may not keep set-id bits of what it changes: whether it is in a group (asked rarely).
using InGroup = std::function<bool(gid_t)>;

// An object and its attributes; the kernel holds one more reference to the node now.
struct Found {
    Node* node = nullptr;
    FileInfo info;
};

// An open file of an application.
struct OpenFile {
    Node* node;
    OwnFd fd;
    int flags;  // the application's
    bool readable =
        true;  // the descriptor; with --writeback also where the application only writes, if that can be had
    [[nodiscard]] bool writable() const;
};

// An open directory: a stream of its own, so that offsets stay valid while names come and go.
struct OpenDirectory {
    Node* node;
    OwnFd fd;
};

struct DirEntry {
    std::string_view name;
    std::uint64_t ino;
    unsigned char type;  // DT_*
    std::uint64_t next;  // offset of the entry after this one
};

// What a setattr request asks for; the mask is AttributesRecord's, and these.
struct AttributeChange {
    std::uint32_t valid = 0;  // AttributesRecord::kMode ... kMtime
    std::uint32_t mode = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint64_t size = 0;
    bool set_atime = false;
    timespec atime{};
    std::int64_t mtime_ns = 0;
    const InGroup* kill_suidgid = nullptr;  // a change of size by someone who may not keep set-id bits
};

// Order of every changing operation: locks (locks.hpp), look at what stands there, begin (journal), effect, node table,
// settler, commit, unlock. Errors are errno values as the backing file system gives them.
//
// Thread-safe; called by FUSE workers. Owned by main; everything it refers to outlives it.
class FileSystem {
  public:
    FileSystem(int root, Locks& locks, NodeTable& nodes, Mutator& mutator, Settler& settler, Journal& journal);

    // fs_names.cpp
    SysResult<Found> lookup(Node* parent, const char* name);
    void forget(Node* node, std::uint64_t references) { nodes_.forget(node, references); }
    SysResult<Found> make_node(const Caller& who, Node* parent, const char* name, mode_t mode,
                               dev_t rdev);  // also mkdir
    SysResult<Found> symlink(const Caller& who, Node* parent, const char* name, const char* target);
    SysResult<Found> link(Node* node, Node* new_parent, const char* new_name);
    SysResult<void> unlink(Node* parent, const char* name);
    SysResult<void> rmdir(Node* parent, const char* name);
    SysResult<void> rename(Node* parent, const char* name, Node* new_parent, const char* new_name, unsigned flags);

    // fs_files.cpp
    SysResult<std::pair<Found, std::unique_ptr<OpenFile>>> create(const Caller& who, Node* parent, const char* name,
                                                                  mode_t mode, int flags);
    SysResult<std::pair<Found, std::unique_ptr<OpenFile>>> tmpfile(const Caller& who, Node* parent, mode_t mode,
                                                                   int flags);
    SysResult<std::unique_ptr<OpenFile>> open(Node* node, int flags);
    void close(std::unique_ptr<OpenFile> file);
    SysResult<std::size_t> read(OpenFile& file, std::span<std::byte> out, std::uint64_t offset);
    struct WriteHow {
        bool append = false;                    // at the end of the file, wherever that is now
        const InGroup* kill_suidgid = nullptr;  // the writer may not keep set-id bits
    };
    SysResult<std::size_t> write(OpenFile& file, ByteView data, std::uint64_t offset, const WriteHow& how);
    SysResult<void> fallocate(OpenFile& file, int mode, std::uint64_t offset, std::uint64_t length,
                              const InGroup* kill_suidgid);
    SysResult<std::size_t> copy_range(OpenFile& from, std::uint64_t from_offset, OpenFile& to, std::uint64_t to_offset,
                                      std::uint64_t length, const InGroup* kill_suidgid);
    SysResult<std::uint64_t> seek(OpenFile& file, std::uint64_t offset, int whence);
    // Both return the place of a sync point: everything before it is durable here, and a slave that has it, has that too.
    SysResult<Lsn> fsync(OpenFile& file, bool data_only);
    SysResult<Lsn> sync_point();  // after a write on a descriptor that is O_SYNC or O_DSYNC, as the backing one then is

    // fs_attributes.cpp
    SysResult<FileInfo> attributes(Node* node);
    SysResult<FileInfo> set_attributes(Node* node, OpenFile* file, const AttributeChange& change);
    SysResult<std::string> read_link(Node* node);
    SysResult<struct statvfs> statfs();
    SysResult<OwnFd> open_path(Node* node);  // O_PATH; for statx
    SysResult<Bytes> get_xattr(Node* node, const char* name);
    SysResult<std::vector<std::string>> list_xattrs(Node* node);
    SysResult<void> set_xattr(Node* node, const char* name, ByteView value, int flags, bool kill_sgid);
    SysResult<void> remove_xattr(Node* node, const char* name);

    // fs_directories.cpp
    SysResult<std::unique_ptr<OpenDirectory>> open_directory(Node* node);
    void close_directory(std::unique_ptr<OpenDirectory> directory);
    // Entries from `offset` on until visit returns false. "." and ".." included, state directory left out.
    SysResult<void> read_directory(OpenDirectory& directory, std::uint64_t offset,
                                   const std::function<bool(const DirEntry&)>& visit);
    SysResult<Lsn> fsync_directory(OpenDirectory& directory);
    // Whether an offset means the same in every stream of a directory, so that nobody has to keep one open between two reads.
    [[nodiscard]] bool streams_have_no_state() const;

    // The kernel caches what is written (--writeback): it reads what it writes in part, appends by itself, and says times.
    // Before there are operations.
    void let_kernel_cache_writes();
    [[nodiscard]] bool kernel_caches_writes() const { return settler_.kernel_keeps_times(); }
    // Files that are open for writing: only those have pages in the kernel that are not written yet.
    [[nodiscard]] bool has_writers();
    [[nodiscard]] std::vector<std::string> written_paths();  // of those that have a name

    // Whether the root directory has (had) entries since it was last asked; for the guard against an empty backing directory.
    [[nodiscard]] bool root_changed() { return root_changed_.exchange(false); }

  private:
    [[nodiscard]] bool is_hidden(const Node* parent, std::string_view name) const;
    SysResult<FileInfo> look_at(const NodePlace& place) const;
    SysResult<OwnFd> open_place(const NodePlace& place, int flags) const;
    // For calls that any descriptor of an object is good for, as long as the object is locked: one that is open already, as that of
    // what is just being extracted or copied, else one with O_PATH.
    class Reached {
      public:
        explicit Reached(int fd) : fd_(fd) {}
        explicit Reached(OwnFd own) : own_(std::move(own)), fd_(own_.get()) {}
        [[nodiscard]] int get() const { return fd_; }

      private:
        OwnFd own_;
        int fd_;
    };
    SysResult<Reached> reach(Node* node);
    // What of an application's flags is passed on.
    [[nodiscard]] int backing_flags(int flags) const;
    std::unique_ptr<OpenFile> opened(Node* node, OwnFd fd, int flags, bool readable);
    static SysResult<void> check_free(int dir, const char* name);
    SysResult<Found> enter(Node* parent, std::string_view name, const FileInfo& info, Pending& pending,
                           CreateRecord& r);
    SysResult<Lsn> synced(const std::function<int()>& here);
    SysResult<void> publish_unnamed(Node* node, const FileInfo& info, const std::string& stage_path);
    SysResult<void> kill_privileges(Node* node, int fd, const std::optional<std::string>& path,
                                    const InGroup& in_group);
    // The path to record for a change of `node` (locked): nullopt if it has no name any more; EAGAIN if it lives on under a name
    // that is not known yet, see find_name().
    SysResult<std::optional<std::string>> recorded_path(Node* node, int fd);
    enum class Search { kAmongOthers, kAlone };  // alone: nobody else has a lock, the names stand still
    SysResult<void> find_name(Node* node, Search how);
    bool is_known_by(const Node* node, const std::string& path, Search how);
    SysResult<Found> find(Node* parent, const char* name);  // the directory (or the tree) is locked
    template <class Change>
    auto with_object(Node* node, Change&& change, bool names = false);  // with_object.hpp

    const int root_;
    const std::uint64_t device_;
    Locks& locks_;
    NodeTable& nodes_;
    Mutator& mutator_;
    Settler& settler_;
    Journal& journal_;
    std::mutex writers_mutex_;
    std::unordered_map<Node*, std::size_t> writers_;  // how often each is open for writing; guarded by writers_mutex_
    std::atomic<bool> root_changed_{false};
    std::atomic<std::uint64_t> stage_count_{0};
};

// Creates as `who` within this scope (this thread only): file system ids and umask. Capabilities stay (main sets
// SECBIT_NO_SETUID_FIXUP), since the kernel has already checked what the caller may.
class AsCaller {
  public:
    explicit AsCaller(const Caller& who);
    ~AsCaller();
    AsCaller(const AsCaller&) = delete;
    AsCaller& operator=(const AsCaller&) = delete;

  private:
    const Caller who_;
};

}  // namespace tdfs

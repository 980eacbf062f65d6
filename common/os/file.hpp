// System calls on files as functions that return values: EINTR retried, short transfers continued, errors as Errno.
// Every path is one component relative to a directory descriptor, unless a function says otherwise.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/os/fd.hpp"
#include "proto/bytes.hpp"
#include "proto/errno.hpp"
#include "proto/ids.hpp"

namespace tdfs {

// What one statx call tells.
struct FileInfo {
    ObjectId object;
    std::uint64_t device = 0;  // st_dev
    std::uint32_t mode = 0;    // full st_mode
    std::uint32_t links = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint64_t rdev = 0;
    std::uint64_t size = 0;
    std::uint64_t blocks = 0;  // of 512 bytes
    std::uint32_t block_size = 0;
    std::int64_t atime_ns = 0;
    std::int64_t mtime_ns = 0;
    std::int64_t ctime_ns = 0;

    [[nodiscard]] bool is_dir() const { return S_ISDIR(mode); }
    [[nodiscard]] bool is_regular() const { return S_ISREG(mode); }
    [[nodiscard]] bool is_symlink() const { return S_ISLNK(mode); }
};

SysResult<FileInfo> stat_at(int dir, const std::string& name);  // never follows a symlink; "" = the directory itself
SysResult<FileInfo> stat_fd(int fd);                            // any descriptor, also O_PATH

// openat with O_CLOEXEC | O_NOFOLLOW added.
SysResult<OwnFd> open_at(int dir, const std::string& name, int flags, mode_t mode = 0);

// Opens what `path` (several components, proto/path.hpp rules; "" = root) names beneath `root`, never following a
// symlink, never leaving root, never crossing into another file system; longer than PATH_MAX is fine.
// openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS).
SysResult<OwnFd> open_beneath(int root, std::string_view path, int flags, mode_t mode = 0);
// The directory that holds path's last component, as O_PATH descriptor, by open_beneath. For "" the root itself.
SysResult<OwnFd> open_parent_beneath(int root, std::string_view path);

// "/proc/self/fd/N": a path to what any descriptor names, also an O_PATH one, for calls that take only paths.
std::string proc_fd_path(int fd);

SysResult<void> read_exact(int fd, std::span<std::byte> out, std::uint64_t offset);  // EIO where the file ends first
SysResult<std::size_t> read_some(int fd, std::span<std::byte> out, std::uint64_t offset);  // until full or end of file
// The same; calls `before_waiting` where what is not in memory must be fetched.
SysResult<std::size_t> read_some(int fd, std::span<std::byte> out, std::uint64_t offset,
                                 const std::function<void()>& before_waiting);
SysResult<void> write_all(int fd, ByteView data, std::uint64_t offset);
// As much as the system takes: less than all only with an error after the first byte (ENOSPC, EIO, EFBIG).
SysResult<std::size_t> write_most(int fd, ByteView data, std::uint64_t offset);
SysResult<void> write_all2(int fd, ByteView first, ByteView second, std::uint64_t offset);  // one pwritev if possible

SysResult<std::string> read_link_at(int dir, const std::string& name);

// Extended attributes of the object itself, also of a symlink, by any descriptor including O_PATH (through
// /proc/self/fd). list: names in the kernel's order.
SysResult<std::vector<std::string>> list_xattrs(int fd);
SysResult<Bytes> get_xattr(int fd, const std::string& name);
SysResult<void> set_xattr(int fd, const std::string& name, ByteView value, int flags = 0);
SysResult<void> remove_xattr(int fd, const std::string& name);
// All of them, sorted by name. Attributes the system refuses to show (EPERM...) are left out; ENOTSUP gives none.
SysResult<std::vector<std::pair<std::string, Bytes>>> read_all_xattrs(int fd);
// Order-independent hash over read_all_xattrs; 0 if there are none.
std::uint64_t hash_xattrs(const std::vector<std::pair<std::string, Bytes>>& xattrs);

// Permission bits of the object itself by any descriptor including O_PATH.
SysResult<void> change_mode(int fd, std::uint32_t permissions);
SysResult<void> set_mtime_at(int dir, const std::string& name, std::int64_t mtime_ns);  // atime untouched, no follow
SysResult<void> set_mtime_fd(int fd, std::int64_t mtime_ns);  // any descriptor including O_PATH

// Names in the directory (without "." and ".."), in the kernel's order; type is DT_* (maybe DT_UNKNOWN).
struct DirName {
    std::string name;
    std::uint64_t ino = 0;
    unsigned char type = 0;
};
SysResult<std::vector<DirName>> read_dir(int dir);  // needs a readable directory descriptor; rewinds it first

// Data and hole extents of [offset, end): calls visit(offset, length, is_data) in order until it returns false.
SysResult<void> visit_extents(int fd, std::uint64_t offset, std::uint64_t end,
                              const std::function<bool(std::uint64_t, std::uint64_t, bool)>& visit);

// Removes what `name` names, recursively for directories; nothing there is no error. Never crosses file systems.
SysResult<void> remove_tree_at(int dir, const std::string& name);

// How many objects are beneath the directory `root` (not counted itself) or beneath what `path` names in it (counted
// itself); counting ends at `enough`. `skip`: a name right beneath `root` that is left out. What cannot be looked into
// counts as one.
std::uint64_t count_objects(int root, const std::string& path, std::uint64_t enough, std::string_view skip = {});

// Writes a small file so that after a crash it has the old or the new content: temporary name, fsync, rename, fsync of
// dir.
SysResult<void> replace_file(int dir, const std::string& name, ByteView content, mode_t mode = 0600);
SysResult<Bytes> read_file(int dir, const std::string& name, std::size_t limit_bytes);

std::uint64_t wall_clock_ns();
std::uint64_t monotonic_ns();
std::string boot_id();  // of this boot of the machine; where it cannot be known, one that no other process has

}  // namespace tdfs

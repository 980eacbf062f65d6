// What the kernel knows of the tree: one node for each object it holds a reference to, with the names it is known by.
#pragma once

#include <atomic>
#include <cstdint>
#include <forward_list>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "common/os/fd.hpp"
#include "common/os/file.hpp"
#include "proto/ids.hpp"

namespace tdfs {

struct Node;

// A name the node is known by.
struct Link {
    Node* parent = nullptr;
    std::string name;
};

// The names of a node, in no order. Nearly every node has one, which stands here without a place of its own in memory.
class Links {
  public:
    [[nodiscard]] bool empty() const { return first_.parent == nullptr; }
    [[nodiscard]] const Link& front() const { return first_; }
    [[nodiscard]] bool contains(const Node* parent, std::string_view name) const;
    void add(Node* parent, std::string_view name);
    bool remove(const Node* parent, std::string_view name);  // false: not there
    Link take_front();

  private:
    Link first_;  // without a parent: there is none
    std::forward_list<Link> more_;
};

// One object. Fields are guarded by the table's mutex unless said otherwise. A million of them are usual: at most 200 bytes
// each, with all that the table has for it.
struct Node {
    ObjectId id;              // constant
    bool is_dir = false;      // constant
    bool is_regular = false;  // constant
    bool is_tmpfile = false;  // constant; made by O_TMPFILE, never had a name
    std::atomic<bool> in_settler{false};
    std::uint32_t pins = 0;           // children in the table, open files, the settler
    std::uint64_t lookups = 0;        // references the kernel holds
    Links links;                      // directories: exactly one, the root none
    std::forward_list<int> open_fds;  // one of each open file; reaches the object when it has no name any more

    // Modification times (settler.hpp). `touched_ns` is when the object last changed (monotonic), 0: settled.
    std::atomic<std::uint64_t> touched_ns{0};
    // With --writeback, while the kernel's pages arrive: the time that the kernel gives the file. The backing file has the
    // time of their arrival until it is settled. kNotLate: it has the kernel's.
    static constexpr std::int64_t kNotLate = std::numeric_limits<std::int64_t>::min();
    std::atomic<std::int64_t> kernel_mtime_ns{kNotLate};
};

// Where an object can be reached: by name in a directory, or (no name) by a descriptor.
struct NodePlace {
    std::shared_ptr<const OwnFd> dir;
    std::string name;
    int fd = -1;  // with no name: an open file's descriptor, kept open by the caller's lock on the object
    [[nodiscard]] bool named() const { return dir != nullptr; }
};

// O_PATH descriptors of the directories that were used last, at most `limit`, and of those that were removed since. Not
// thread-safe; owned by the table.
class RecentDirectories {
  public:
    using Fd = std::shared_ptr<const OwnFd>;
    explicit RecentDirectories(std::size_t limit) : limit_(limit) {}
    Fd find(const Node* node);  // nullptr: not there
    void add(const Node* node, Fd fd);
    void keep(const Node* node);  // until it is forgotten: the directory has no name any more
    void forget(const Node* node);

  private:
    using Order = std::list<std::pair<const Node*, Fd>>;  // front: most recently used
    const std::size_t limit_;
    Order order_;
    std::unordered_map<const Node*, Order::iterator> places_;
    std::unordered_map<const Node*, Fd> kept_;
};

// Invariants: a node lives while the kernel or a pin refers to it; its parents live as long; no descriptor is kept per
// node (at most `max_dir_fds` for recently used directories). Names are authoritative as long as the caller holds the
// locks of locks.hpp: the tree (shared) keeps the paths of directories, an object's lock keeps its names.
//
// Thread-safe (one mutex, a leaf lock; held over openat only when a directory's descriptor has to be opened). Owned by
// main; `root` outlives it.
class NodeTable {
  public:
    NodeTable(int root, const FileInfo& root_info, std::size_t max_dir_fds);
    ~NodeTable();

    [[nodiscard]] Node* root() { return &root_; }
    [[nodiscard]] std::size_t size() const;

    // The node of the object `info` that has just been found (or made) as parent/name; counts one reference of the kernel.
    Node* enter(Node* parent, std::string_view name, const FileInfo& info);
    // A node without a name (O_TMPFILE).
    Node* enter_unnamed(const FileInfo& info);
    void forget(Node* node, std::uint64_t references);
    // Gives a reference back that a reply which could not be sent had counted.
    void pin(Node* node);
    void unpin(Node* node);

    void opened(Node* node, int fd);
    void closed(Node* node, int fd);  // before fd is closed

    // The node of an inode number with names, or nothing if the kernel does not know it. Pinned.
    Node* find_pinned(std::uint64_t ino);

    void add_link(Node* node, Node* parent, std::string_view name);
    // Before a directory goes: who still uses it must find it (it has no other name). If no descriptor can be had, they get ENOENT.
    void hold_directory(std::uint64_t ino);
    // parent/name is gone; `gone`: it was the object's last name (its inode number may now be used again).
    // Its number may belong to another object already, which was made, and entered, in between.
    void remove_link(const ObjectId& object, Node* parent, std::string_view name, bool gone);
    void move_link(std::uint64_t ino, Node* parent, std::string_view name, Node* new_parent, std::string_view new_name);
    void exchange_links(std::uint64_t ino, Node* parent, std::string_view name, std::uint64_t other_ino,
                        Node* other_parent, std::string_view other_name);

    // ENOENT: the object has no name that is known (and for place(), no open file either).
    SysResult<std::string> path(Node* node);
    SysResult<std::string> path(Node* parent, std::string_view name);
    SysResult<NodePlace> place(Node* node);
    // Of a file that is open, -1: none. Stays open as long as the caller has the object locked.
    [[nodiscard]] int open_fd(Node* node);
    SysResult<std::shared_ptr<const OwnFd>> directory(Node* node);  // O_PATH
    [[nodiscard]] bool has_name(Node* node);

  private:
    Node* insert(const FileInfo& info);
    void orphan(std::uint64_t ino);
    void link_locked(Node* node, Node* parent, std::string_view name);
    void unlink_locked(Node* node, Node* parent, std::string_view name);
    void drop_if_unused(Node* node);
    SysResult<std::string> path_locked(const Node* node) const;
    SysResult<std::shared_ptr<const OwnFd>> directory_locked(Node* node);

    const int root_fd_;
    Node root_;

    mutable std::mutex mutex_;
    std::unordered_map<std::uint64_t, Node*> by_ino_;  // objects that have (or may have) a name
    std::unordered_set<Node*> orphans_;                // objects without one that something still refers to
    std::size_t count_ = 0;
    RecentDirectories recent_;
};

}  // namespace tdfs

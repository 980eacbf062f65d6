// Finds the objects of the replica by their paths, never outside of it.
#pragma once

#include <string>
#include <string_view>

#include "common/os/fd.hpp"
#include "common/os/file.hpp"
#include "proto/errno.hpp"
#include "slave/fd_cache.hpp"

namespace tdfs {

struct TreeLimits {
    std::size_t parents = 1024;  // descriptors of directories kept open
    std::size_t files = 256;     // descriptors of files being written
};

// A path of a record split for an *at call. `dir` is good until names change in the tree or place() was called
// twice more.
struct Place {
    int dir = -1;
    std::string name;  // empty: the root itself
};

// Whether a record may name this path: anything but the state directory, of which only what lies beneath the stage is
// part of history.
[[nodiscard]] bool is_open_to_records(std::string_view path);

// Every directory on the way is resolved beneath the root without following a symlink, so that nothing the stream says,
// and nothing it has built earlier, leads elsewhere; only regular files are ever opened.
//
// Keeps directories and files being written open. Whoever changes a name tells here. Not thread-safe; owned by the
// applier. `root` outlives it.
class ReplicaTree {
  public:
    // At least two parents are kept, since some records name two.
    ReplicaTree(int root, TreeLimits limits);

    // Makes the stage directory if it is not there.
    SysResult<void> prepare_stage();

    SysResult<Place> place(std::string_view path);
    // The object itself (O_PATH, or the descriptor it is being written by), good until the next call here.
    SysResult<int> object(std::string_view path);
    // A regular file, open for writing. EISDIR, ELOOP, EINVAL: it is something else.
    SysResult<int> writable(std::string_view path);
    SysResult<OwnFd> readable(std::string_view path);
    [[nodiscard]] int open_file(std::string_view path) { return files_.find(path); }  // -1: not open

    void keep_open(std::string_view path, OwnFd file) { files_.add(path, std::move(file)); }
    void close_file(std::string_view path) { files_.forget(path); }
    void removed(std::string_view path);
    void renamed(std::string_view from, std::string_view to);
    void exchanged(std::string_view one, std::string_view other);
    void close_files() { files_.clear(); }  // a file being written cannot be executed
    void forget_all();

  private:
    SysResult<OwnFd> open_regular(std::string_view path, int flags);

    const int root_;
    FdCache parents_;
    FdCache files_;
    OwnFd object_;
};

}  // namespace tdfs

#include "slave/replica_tree.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "proto/path.hpp"

namespace tdfs {

bool is_open_to_records(std::string_view path) {
    return !is_within(path, kStateName) || (is_within(path, kStagePath) && path != kStagePath);
}

ReplicaTree::ReplicaTree(int root, TreeLimits limits)
    : root_(root), parents_(std::max<std::size_t>(limits.parents, 2)), files_(std::max<std::size_t>(limits.files, 1)) {}

SysResult<void> ReplicaTree::prepare_stage() {
    const auto parent = parent_of(kStagePath);
    if (::mkdirat(root_, std::string(parent).c_str(), 0700) != 0 && errno != EEXIST) return fail_last();
    auto state = open_beneath(root_, parent, O_PATH | O_DIRECTORY);
    if (!state) return fail(state.error());
    const std::string name(leaf_of(kStagePath));
    if (::mkdirat(state->get(), name.c_str(), 0700) != 0 && errno != EEXIST) return fail_last();
    auto stage = open_beneath(root_, kStagePath, O_PATH | O_DIRECTORY);
    if (!stage) return fail(stage.error());
    return {};
}

SysResult<Place> ReplicaTree::place(std::string_view path) {
    const auto parent = parent_of(path);
    if (parent.empty()) return Place{root_, std::string(path)};
    int dir = parents_.find(parent);
    if (dir < 0) {
        auto opened = open_beneath(root_, parent, O_PATH | O_DIRECTORY);
        if (!opened) return fail(opened.error());
        dir = parents_.add(parent, std::move(*opened));
    }
    return Place{dir, std::string(leaf_of(path))};
}

SysResult<int> ReplicaTree::object(std::string_view path) {
    if (const int fd = files_.find(path); fd >= 0) return fd;
    if (path.empty()) return root_;
    const auto at = place(path);
    if (!at) return fail(at.error());
    auto fd = open_at(at->dir, at->name, O_PATH);
    if (!fd) return fail(fd.error());
    object_ = std::move(*fd);
    return object_.get();
}

// Looks before it opens: opening a device or a pipe that stands there would have effects.
SysResult<OwnFd> ReplicaTree::open_regular(std::string_view path, int flags) {
    const auto at = place(path);
    if (!at) return fail(at.error());
    const auto found = open_at(at->dir, at->name, O_PATH);
    if (!found) return fail(found.error());
    const auto info = stat_fd(found->get());
    if (!info) return fail(info.error());
    if (!info->is_regular()) return fail(info->is_dir() ? EISDIR : info->is_symlink() ? ELOOP : EINVAL);
    const int fd = ::open(proc_fd_path(found->get()).c_str(), flags | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return fail_last();
    return OwnFd(fd);
}

SysResult<int> ReplicaTree::writable(std::string_view path) {
    if (const int fd = files_.find(path); fd >= 0) return fd;
    auto fd = open_regular(path, O_WRONLY);
    if (!fd) return fail(fd.error());
    return files_.add(path, std::move(*fd));
}

SysResult<OwnFd> ReplicaTree::readable(std::string_view path) { return open_regular(path, O_RDONLY); }

void ReplicaTree::removed(std::string_view path) {
    files_.forget(path);
    parents_.forget_within(path);
}

void ReplicaTree::renamed(std::string_view from, std::string_view to) {
    OwnFd file = files_.take(from);  // the usual way of programs: write aside, rename, be done
    files_.forget_within(from);
    files_.forget_within(to);
    parents_.forget_within(from);
    parents_.forget_within(to);
    if (file) files_.add(to, std::move(file));
}

void ReplicaTree::exchanged(std::string_view one, std::string_view other) {
    for (const auto path : {one, other}) {
        files_.forget_within(path);
        parents_.forget_within(path);
    }
}

void ReplicaTree::forget_all() {
    parents_.clear();
    files_.clear();
    object_.reset();
}

}  // namespace tdfs

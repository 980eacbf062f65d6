// Names: finding, making, linking, removing and renaming objects.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "master/file_system.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {
std::uint64_t device_of(int fd) {
    const auto info = stat_fd(fd);
    return info ? info->device : 0;
}
}  // namespace

FileSystem::FileSystem(int root, Locks& locks, NodeTable& nodes, Mutator& mutator, Settler& settler, Journal& journal)
    : root_(root),
      device_(device_of(root)),
      locks_(locks),
      nodes_(nodes),
      mutator_(mutator),
      settler_(settler),
      journal_(journal) {}

bool FileSystem::is_hidden(const Node* parent, std::string_view name) const {
    return parent == nodes_.root() && name == kStateName;
}

SysResult<Found> FileSystem::find(Node* parent, const char* name) {
    const auto dir = nodes_.directory(parent);
    if (!dir) return fail(dir.error());
    const auto info = stat_at((*dir)->get(), name);
    if (!info) return fail(info.error());
    if (info->device != device_) return fail(EXDEV);  // another file system mounted beneath is not part of the volume
    return Found{nodes_.enter(parent, name, *info), *info};
}

SysResult<Found> FileSystem::lookup(Node* parent, const char* name) {
    if (is_hidden(parent, name)) return fail(ENOENT);
    if (std::strlen(name) > kMaxNameBytes) return fail(ENAMETOOLONG);
    OpLock lock(locks_);
    lock.read_directory(parent->id.ino);
    auto found = find(parent, name);
    if (!found) return found;
    Node* const node = found->node;
    if (!settler_.kernel_keeps_times() || node->touched_ns.load() == 0 || node->is_dir) return found;
    // Pages of it arrive: the kernel begins with the time that the file will have when they have.
    lock.read_object(node->id.ino);
    const auto now = find(parent, name);
    if (now) nodes_.forget(now->node, 1);
    return Found{node, Settler::with_kernel_time(node, now ? now->info : found->info)};
}

// A restart tells a creation that was done from one that was not by the name alone, so it must have been free.
SysResult<void> FileSystem::check_free(int dir, const char* name) {
    const auto there = stat_at(dir, name);
    if (there) return fail(EEXIST);
    return there.error() == Errno(ENOENT) ? SysResult<void>() : fail(there.error());
}

// The rest of every creation: what was made becomes known, its parent is touched, the record committed.
SysResult<Found> FileSystem::enter(Node* parent, std::string_view name, const FileInfo& info, Pending& pending,
                                   CreateRecord& r) {
    r.object = info.object;
    r.mode = info.mode;
    r.uid = info.uid;
    r.gid = info.gid;
    r.mtime_ns = info.mtime_ns;
    Node* const node = nodes_.enter(parent, name, info);
    if (info.is_regular() || info.is_dir()) settler_.touched(node, pending.lsn());
    settler_.touched(parent, pending.lsn());
    if (parent == nodes_.root()) root_changed_ = true;
    pending.commit(r);
    return Found{node, info};
}

SysResult<Found> FileSystem::make_node(const Caller& who, Node* parent, const char* name, mode_t mode, dev_t rdev) {
    if (is_hidden(parent, name)) return fail(EPERM);
    OpLock lock(locks_);
    lock.change_directory(parent->id.ino);
    const auto path = nodes_.path(parent, name);
    if (!path) return fail(path.error());
    const auto dir = nodes_.directory(parent);
    if (!dir) return fail(dir.error());
    if (const auto free = check_free((*dir)->get(), name); !free) return fail(free.error());

    CreateRecord r;
    r.path = *path;
    r.mode = mode;
    r.rdev = rdev;
    auto pending = mutator_.begin(r);
    if (!pending) return fail(pending.error());
    {
        const AsCaller as(who);
        const int done =
            S_ISDIR(mode) ? ::mkdirat((*dir)->get(), name, mode & 07777) : ::mknodat((*dir)->get(), name, mode, rdev);
        if (done != 0) return fail_last();
    }
    const auto info = stat_at((*dir)->get(), name);
    if (!info) return fail(pending->leave(info.error()));
    return enter(parent, name, *info, *pending, r);
}

SysResult<Found> FileSystem::symlink(const Caller& who, Node* parent, const char* name, const char* target) {
    if (is_hidden(parent, name)) return fail(EPERM);
    const std::string_view text = target;
    if (text.size() >= kMaxSymlinkBytes) return fail(ENAMETOOLONG);
    OpLock lock(locks_);
    lock.change_directory(parent->id.ino);
    const auto path = nodes_.path(parent, name);
    if (!path) return fail(path.error());
    const auto dir = nodes_.directory(parent);
    if (!dir) return fail(dir.error());
    if (const auto free = check_free((*dir)->get(), name); !free) return fail(free.error());

    CreateRecord r;
    r.path = *path;
    r.mode = S_IFLNK | 0777;
    r.target = as_bytes(text);
    auto pending = mutator_.begin(r);
    if (!pending) return fail(pending.error());
    {
        const AsCaller as(who);
        if (::symlinkat(target, (*dir)->get(), name) != 0) return fail_last();
    }
    const auto info = stat_at((*dir)->get(), name);
    if (!info) return fail(pending->leave(info.error()));
    return enter(parent, name, *info, *pending, r);
}

SysResult<Found> FileSystem::link(Node* node, Node* new_parent, const char* new_name) {
    if (is_hidden(new_parent, new_name)) return fail(EPERM);
    OpLock lock(locks_);
    lock.change_directory(new_parent->id.ino);
    lock.change_object(node->id.ino);
    const auto new_path = nodes_.path(new_parent, new_name);
    if (!new_path) return fail(new_path.error());
    const auto new_dir = nodes_.directory(new_parent);
    if (!new_dir) return fail(new_dir.error());
    if (const auto free = check_free((*new_dir)->get(), new_name); !free) return fail(free.error());
    const auto place = nodes_.place(node);
    if (!place) return fail(place.error());
    const auto before = look_at(*place);
    if (!before) return fail(before.error());

    std::string path;
    if (place->named()) {
        auto known = nodes_.path(node);
        if (!known) return fail(known.error());
        path = std::move(*known);
    } else {
        if (!node->is_tmpfile) return fail(ENOENT);  // as the kernel: what has lost its last name gets none again
        char unique[64];
        std::snprintf(unique, sizeof unique, "%s/%016llx-%llu", kStagePath.data(),
                      static_cast<unsigned long long>(journal_.tail().bytes()),
                      static_cast<unsigned long long>(++stage_count_));
        path = unique;
        if (const auto staged = publish_unnamed(node, *before, path); !staged) return fail(staged.error());
    }

    const Record r = place->named() ? Record(LinkRecord{node->id, path, *new_path})
                                    : Record(RenameRecord{node->id, {}, path, *new_path, false});
    auto pending = mutator_.begin(r, node->id.ino);
    if (!pending) return fail(pending.error());
    const int done = place->named() ? ::linkat(place->dir->get(), place->name.c_str(), (*new_dir)->get(), new_name, 0)
                                    : ::linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(place->fd)).c_str(),
                                               (*new_dir)->get(), new_name, AT_SYMLINK_FOLLOW);
    if (done != 0) return fail_last();
    const auto info = stat_at((*new_dir)->get(), new_name);
    if (!info) return fail(pending->leave(info.error()));
    Node* const entered = nodes_.enter(new_parent, new_name, *info);
    settler_.touched(new_parent, pending->lsn());
    if (!place->named()) settler_.touched(entered, pending->lsn());
    if (new_parent == nodes_.root()) root_changed_ = true;
    pending->commit(r);
    return Found{entered, *info};
}

SysResult<void> FileSystem::unlink(Node* parent, const char* name) {
    if (is_hidden(parent, name)) return fail(ENOENT);
    OpLock lock(locks_);
    lock.change_directory(parent->id.ino);
    const auto path = nodes_.path(parent, name);
    if (!path) return fail(path.error());
    const auto dir = nodes_.directory(parent);
    if (!dir) return fail(dir.error());
    const auto found = stat_at((*dir)->get(), name);
    if (!found) return fail(found.error());
    lock.change_object(found->object.ino);
    // How many names it has is true only now: until here it may have got another one.
    const auto info = stat_at((*dir)->get(), name);
    if (!info) return fail(info.error());
    if (info->links > 1) {
        if (auto settled = settler_.settle_before_loss(info->object.ino); !settled) return settled;
    }

    const Settler::RootLoss loss(settler_, parent == nodes_.root());
    const UnlinkRecord r{info->object, *path};
    auto pending = mutator_.begin(r, info->object.ino);
    if (!pending) return fail(pending.error());
    if (::unlinkat((*dir)->get(), name, 0) != 0) return fail_last();
    nodes_.remove_link(info->object, parent, name, info->links <= 1);
    settler_.touched(parent, pending->lsn());
    if (parent == nodes_.root()) root_changed_ = true;
    pending->commit(r);
    return {};
}

SysResult<void> FileSystem::rmdir(Node* parent, const char* name) {
    if (is_hidden(parent, name)) return fail(ENOENT);
    // Which directory goes is known only under its parent's lock, but both have to be taken in order: looked up first,
    // and again.
    for (std::uint64_t ino = 0;;) {
        OpLock lock(locks_);
        lock.change_directories(parent->id.ino, ino == 0 ? parent->id.ino : ino);
        const auto path = nodes_.path(parent, name);
        if (!path) return fail(path.error());
        const auto dir = nodes_.directory(parent);
        if (!dir) return fail(dir.error());
        const auto info = stat_at((*dir)->get(), name);
        if (!info) return fail(info.error());
        if (!info->is_dir()) return fail(ENOTDIR);
        if (info->object.ino != ino) {
            ino = info->object.ino;
            continue;
        }
        lock.change_object(ino);
        const Settler::RootLoss loss(settler_, parent == nodes_.root());
        const RmdirRecord r{info->object, *path};
        auto pending = mutator_.begin(r, ino);
        if (!pending) return fail(pending.error());
        nodes_.hold_directory(ino);
        if (::unlinkat((*dir)->get(), name, AT_REMOVEDIR) != 0) return fail_last();
        nodes_.remove_link(info->object, parent, name, true);
        settler_.touched(parent, pending->lsn());
        if (parent == nodes_.root()) root_changed_ = true;
        pending->commit(r);
        return {};
    }
}

SysResult<void> FileSystem::rename(Node* parent, const char* name, Node* new_parent, const char* new_name,
                                   unsigned flags) {
    if (is_hidden(parent, name)) return fail(ENOENT);
    if (is_hidden(new_parent, new_name)) return fail(EPERM);
    if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0) return fail(EINVAL);
    const bool exchange = (flags & RENAME_EXCHANGE) != 0;
    // A directory that moves changes the paths of everything beneath: nobody else may be at work then.
    for (auto tree = OpLock::Tree::kShared;; tree = OpLock::Tree::kExclusive) {
        OpLock lock(locks_, tree);
        lock.change_directories(parent->id.ino, new_parent->id.ino);
        const auto path = nodes_.path(parent, name);
        const auto new_path = nodes_.path(new_parent, new_name);
        if (!path) return fail(path.error());
        if (!new_path) return fail(new_path.error());
        const auto dir = nodes_.directory(parent);
        const auto new_dir = nodes_.directory(new_parent);
        if (!dir) return fail(dir.error());
        if (!new_dir) return fail(new_dir.error());
        const auto info = stat_at((*dir)->get(), name);
        if (!info) return fail(info.error());
        auto there = stat_at((*new_dir)->get(), new_name);
        if (!there && there.error() != Errno(ENOENT)) return fail(there.error());
        const bool moves_directory = info->is_dir() || (there && there->is_dir());
        if (moves_directory && tree == OpLock::Tree::kShared) continue;
        lock.change_objects(info->object.ino, there ? there->object.ino : info->object.ino);
        // How many names it has is true only now: until here it may have got another one.
        if (there) there = stat_at((*new_dir)->get(), new_name);
        if (!there && there.error() != Errno(ENOENT)) return fail(there.error());

        const auto carry_out = [&] { return ::renameat2((*dir)->get(), name, (*new_dir)->get(), new_name, flags); };
        if (there && there->object == info->object) {  // two names of one object: nothing happens, or nothing is seen
            return carry_out() == 0 ? SysResult<void>() : fail_last();
        }
        if (there && !exchange && !there->is_dir() && there->links > 1) {
            if (auto settled = settler_.settle_before_loss(there->object.ino); !settled) return settled;
        }
        const ObjectId replaced = there ? there->object : ObjectId{};
        const Settler::RootLoss loss(settler_, parent == nodes_.root());
        const RenameRecord r{info->object, replaced, *path, *new_path, exchange};
        auto pending = mutator_.begin(r, info->object.ino, replaced.ino);
        if (!pending) return fail(pending.error());
        if (there && there->is_dir() && !exchange) nodes_.hold_directory(replaced.ino);
        if (carry_out() != 0) return fail_last();
        if (exchange) {
            nodes_.exchange_links(info->object.ino, parent, name, replaced.ino, new_parent, new_name);
        } else {
            if (there) {
                nodes_.remove_link(replaced, new_parent, new_name, there->is_dir() || there->links <= 1);
            }
            nodes_.move_link(info->object.ino, parent, name, new_parent, new_name);
        }
        settler_.touched(parent, pending->lsn());
        if (new_parent != parent) settler_.touched(new_parent, pending->lsn());
        if (parent == nodes_.root() || new_parent == nodes_.root()) root_changed_ = true;
        pending->commit(r);
        return {};
    }
}

}  // namespace tdfs

// Attributes: owner, mode, size, times, extended attributes.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "master/effects.hpp"
#include "master/file_system.hpp"
#include "master/with_object.hpp"
#include "proto/path.hpp"

namespace tdfs {

SysResult<FileInfo> FileSystem::look_at(const NodePlace& place) const {
    return place.named() ? stat_at(place.dir->get(), place.name) : stat_fd(place.fd);
}

SysResult<FileInfo> FileSystem::attributes(Node* node) {
    OpLock lock(locks_);
    lock.read_object(node->id.ino);
    const auto place = nodes_.place(node);
    if (!place) return fail(place.error());
    return look_at(*place);
}

SysResult<FileInfo> FileSystem::set_attributes(Node* node, OpenFile* file, const AttributeChange& change) {
    // A change of its names also changes a directory's time: the later one of the two is to be the one that counts.
    const bool names = node->is_dir && (change.valid & AttributesRecord::kMtime) != 0;
    const auto set = [&]() -> SysResult<FileInfo> {
        const auto reached = file != nullptr ? SysResult<Reached>(Reached(file->fd.get())) : reach(node);
        if (!reached) return fail(reached.error());
        const int object = reached->get();

        if (change.set_atime) {  // not replicated
            const std::array<timespec, 2> times{change.atime, timespec{0, UTIME_OMIT}};
            const std::string self = "/proc/self/fd/" + std::to_string(object);
            if (::utimensat(AT_FDCWD, self.c_str(), times.data(), 0) != 0) return fail_last();
        }
        AttributesRecord r;
        r.object = node->id;
        r.valid = change.valid;
        r.mode = change.mode & 07777;
        r.uid = change.uid;
        r.gid = change.gid;
        r.size = change.size;
        r.mtime_ns = change.mtime_ns;
        if (change.kill_suidgid != nullptr && (r.valid & AttributesRecord::kMode) == 0) {
            const auto before = stat_fd(object);
            if (!before) return fail(before.error());
            r.mode = effects::without_set_id(*before, *change.kill_suidgid);
            if (r.mode != (before->mode & 07777)) r.valid |= AttributesRecord::kMode;
        }
        // A kernel that keeps the times also sends those that have not changed, with everything that changes the file's ctime.
        if (settler_.kernel_keeps_times() && r.valid == AttributesRecord::kMtime && node->touched_ns.load() == 0) {
            const auto before = stat_fd(object);
            if (!before) return fail(before.error());
            if (before->mtime_ns == r.mtime_ns) r.valid = 0;
        }
        if ((r.valid & AttributesRecord::kSize) != 0) settler_.before_late_change(node, object);
        if (r.valid != 0) {
            const auto path = recorded_path(node, object);
            if (!path) return fail(path.error());
            if (!*path) {
                if (const auto done = effects::set_attributes(object, r); !done) return fail(done.error());
                if ((r.valid & AttributesRecord::kMtime) != 0) Settler::is_settled(node);
            } else {
                r.path = **path;
                auto pending = mutator_.begin(r, node->id.ino);
                if (!pending) return fail(pending.error());
                const auto done = effects::set_attributes(object, r);
                if (r.valid == 0) return fail(done.error());
                // Done in part is done: what was carried out stands in the record, the error goes to the caller.
                if ((r.valid & AttributesRecord::kMtime) != 0) {
                    Settler::is_settled(node);
                } else if ((r.valid & AttributesRecord::kSize) != 0) {
                    settler_.touched(node, pending->lsn());
                }
                pending->commit(r);
                if (!done) return fail(done.error());
            }
        }
        return stat_fd(object);
    };
    return with_object(node, set, names);
}

SysResult<std::string> FileSystem::read_link(Node* node) {
    OpLock lock(locks_);
    lock.read_object(node->id.ino);
    const auto place = nodes_.place(node);
    if (!place) return fail(place.error());
    if (!place->named()) return fail(ENOENT);
    return read_link_at(place->dir->get(), place->name);
}

SysResult<struct statvfs> FileSystem::statfs() {
    struct statvfs s {};
    if (::fstatvfs(root_, &s) != 0) return fail_last();
    return s;
}

SysResult<OwnFd> FileSystem::open_path(Node* node) {
    OpLock lock(locks_);
    lock.read_object(node->id.ino);
    const auto place = nodes_.place(node);
    if (!place) return fail(place.error());
    return open_place(*place, O_PATH);
}

SysResult<FileSystem::Reached> FileSystem::reach(Node* node) {
    if (const int open = nodes_.open_fd(node); open >= 0) return Reached(open);
    const auto place = nodes_.place(node);
    if (!place) return fail(place.error());
    auto own = open_place(*place, O_PATH);
    if (!own) return fail(own.error());
    return Reached(std::move(*own));
}

SysResult<Bytes> FileSystem::get_xattr(Node* node, const char* name) {
    OpLock lock(locks_);
    lock.read_object(node->id.ino);
    const auto fd = reach(node);
    if (!fd) return fail(fd.error());
    return tdfs::get_xattr(fd->get(), name);
}

SysResult<std::vector<std::string>> FileSystem::list_xattrs(Node* node) {
    OpLock lock(locks_);
    lock.read_object(node->id.ino);
    const auto fd = reach(node);
    if (!fd) return fail(fd.error());
    return tdfs::list_xattrs(fd->get());
}

SysResult<void> FileSystem::set_xattr(Node* node, const char* name, ByteView value, int flags, bool kill_sgid) {
    const std::string_view key = name;
    if (key.size() > kMaxXattrNameBytes) return fail(ERANGE);
    if (value.size() > kMaxXattrValueBytes) return fail(E2BIG);
    return with_object(node, [&]() -> SysResult<void> {
        const auto fd = reach(node);
        if (!fd) return fail(fd.error());
        const auto path = recorded_path(node, fd->get());
        if (!path) return fail(path.error());
        SetXattrRecord r{node->id, {}, key, value, SetXattrRecord::kAnyMode};
        std::optional<Pending> pending;
        if (*path) {
            r.path = **path;
            auto begun = mutator_.begin(r, node->id.ino);
            if (!begun) return fail(begun.error());
            pending.emplace(std::move(*begun));
        }
        if (auto done = tdfs::set_xattr(fd->get(), name, value, flags); !done) return done;
        // From here on it is done, and recorded whatever else fails.
        SysResult<void> taken;
        if (key.starts_with("system.posix_acl_")) {
            auto info = stat_fd(fd->get());
            if (!info) return fail(pending ? pending->leave(info.error()) : info.error());
            if (kill_sgid && (info->mode & S_ISGID) != 0) {
                const auto mode = info->mode & ~static_cast<std::uint32_t>(S_ISGID);
                taken = change_mode(fd->get(), mode & 07777);
                if (taken) info->mode = mode;
            }
            if (!info->is_symlink()) r.mode = info->mode & 07777;
        }
        if (pending) pending->commit(r);
        return taken;
    });
}

SysResult<void> FileSystem::remove_xattr(Node* node, const char* name) {
    const std::string_view key = name;
    if (key.size() > kMaxXattrNameBytes) return fail(ERANGE);
    return with_object(node, [&]() -> SysResult<void> {
        const auto fd = reach(node);
        if (!fd) return fail(fd.error());
        const auto path = recorded_path(node, fd->get());
        if (!path) return fail(path.error());
        if (!*path) return tdfs::remove_xattr(fd->get(), name);
        const RemoveXattrRecord r{node->id, **path, key};
        auto pending = mutator_.begin(r, node->id.ino);
        if (!pending) return fail(pending.error());
        if (auto done = tdfs::remove_xattr(fd->get(), name); !done) return done;
        pending->commit(r);
        return {};
    });
}

}  // namespace tdfs

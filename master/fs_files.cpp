// Files: opening, reading, writing and what else works on an open file.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "master/crew.hpp"
#include "master/effects.hpp"
#include "master/file_system.hpp"
#include "master/with_object.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {
constexpr std::uint64_t kMaxCopyBytes = 64ull << 20;  // of one copy_file_range: the caller goes on from there
}  // namespace

bool OpenFile::writable() const { return (flags & O_ACCMODE) != O_RDONLY; }

// Appending is done here, under the object's lock, or by a kernel that caches writes; alignment rules of O_DIRECT are not the
// caller's business, since its buffers do not reach the disk; the kernel has already created and truncated. A kernel that caches
// writes reads the rest of a page that is written in part, by whatever descriptor of the file it has.
int FileSystem::backing_flags(int flags) const {
    const bool reads_too = kernel_caches_writes() && (flags & O_ACCMODE) == O_WRONLY;
    return (reads_too ? O_RDWR : flags & O_ACCMODE) | (flags & (O_SYNC | O_DSYNC)) | O_NONBLOCK;
}

void FileSystem::let_kernel_cache_writes() { settler_.let_kernel_keep_times(); }

std::unique_ptr<OpenFile> FileSystem::opened(Node* node, OwnFd fd, int flags, bool readable) {
    auto file = std::make_unique<OpenFile>(OpenFile{node, std::move(fd), flags, readable});
    nodes_.opened(node, file->fd.get());
    if (file->writable()) {
        const std::lock_guard guard(writers_mutex_);
        ++writers_[node];
    }
    return file;
}

bool FileSystem::has_writers() {
    const std::lock_guard guard(writers_mutex_);
    return !writers_.empty();
}

std::vector<std::string> FileSystem::written_paths() {
    const std::lock_guard guard(writers_mutex_);
    std::vector<std::string> paths;
    for (const auto& [node, count] : writers_) {
        if (auto path = nodes_.path(node)) paths.push_back(std::move(*path));
    }
    return paths;
}

SysResult<std::pair<Found, std::unique_ptr<OpenFile>>> FileSystem::create(const Caller& who, Node* parent,
                                                                          const char* name, mode_t mode, int flags) {
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
    r.mode = S_IFREG | (mode & 07777);
    auto pending = mutator_.begin(r);
    if (!pending) return fail(pending.error());
    OwnFd fd;
    {
        const AsCaller as(who);
        auto opened = open_at((*dir)->get(), name, backing_flags(flags) | O_CREAT | O_EXCL, mode & 07777);
        if (!opened) return fail(opened.error());
        fd = std::move(*opened);
    }
    const auto info = stat_fd(fd.get());
    if (!info) return fail(pending->leave(info.error()));
    auto found = enter(parent, name, *info, *pending, r);
    if (!found) return fail(found.error());
    return std::make_pair(*found, opened(found->node, std::move(fd), flags, true));
}

SysResult<std::pair<Found, std::unique_ptr<OpenFile>>> FileSystem::tmpfile(const Caller& who, Node* parent, mode_t mode,
                                                                           int flags) {
    OpLock lock(locks_);
    lock.read_directory(parent->id.ino);
    const auto dir = nodes_.directory(parent);
    if (!dir) return fail(dir.error());
    OwnFd fd;
    {
        const AsCaller as(who);
        auto opened = open_at((*dir)->get(), "", backing_flags(flags) | O_TMPFILE | (flags & O_EXCL), mode & 07777);
        if (!opened) return fail(opened.error());
        fd = std::move(*opened);
    }
    const auto info = stat_fd(fd.get());
    if (!info) return fail(info.error());
    const Found found{nodes_.enter_unnamed(*info), *info};
    return std::make_pair(found, opened(found.node, std::move(fd), flags, true));
}

SysResult<OwnFd> FileSystem::open_place(const NodePlace& place, int flags) const {
    if (place.named()) return open_at(place.dir->get(), place.name, flags);
    const std::string self = "/proc/self/fd/" + std::to_string(place.fd);
    if ((flags & O_PATH) != 0) {
        const int fd = ::fcntl(place.fd, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? SysResult<OwnFd>(fail_last()) : SysResult<OwnFd>(OwnFd(fd));
    }
    const int fd = ::open(self.c_str(), flags | O_CLOEXEC);
    if (fd < 0) return fail_last();
    return OwnFd(fd);
}

SysResult<std::unique_ptr<OpenFile>> FileSystem::open(Node* node, int flags) {
    OpLock lock(locks_);
    lock.read_object(node->id.ino);
    const auto place = nodes_.place(node);
    if (!place) return fail(place.error());
    const int wanted = backing_flags(flags);
    auto fd = open_place(*place, wanted);
    const bool readable = fd || (wanted & O_ACCMODE) == (flags & O_ACCMODE);
    // A backing file system that does not let root read, as one from the network may: written without the cache.
    if (!readable) fd = open_place(*place, (wanted & ~O_ACCMODE) | O_WRONLY);
    if (!fd) return fail(fd.error());
    return opened(node, std::move(*fd), flags, readable);
}

void FileSystem::close(std::unique_ptr<OpenFile> file) {
    if (file->writable()) {
        if (file->node->touched_ns.load(std::memory_order_relaxed) != 0) settler_.settle(file->node);
        const std::lock_guard guard(writers_mutex_);
        if (const auto at = writers_.find(file->node); --at->second == 0) writers_.erase(at);
    }
    OpLock lock(locks_);
    lock.change_object(file->node->id.ino);  // nobody is using the descriptor as the object's place
    nodes_.closed(file->node, file->fd.get());
}

SysResult<std::size_t> FileSystem::read(OpenFile& file, std::span<std::byte> out, std::uint64_t offset) {
    return read_some(file.fd.get(), out, offset, about_to_wait);
}

SysResult<std::optional<std::string>> FileSystem::recorded_path(Node* node, int fd) {
    auto path = nodes_.path(node);
    if (path) return std::optional<std::string>(std::move(*path));
    if (path.error() != Errno(ENOENT)) return fail(path.error());
    const auto info = stat_fd(fd);
    if (!info) return fail(info.error());
    if (info->links > 0 && !info->is_dir() && !node->is_tmpfile) return fail(EAGAIN);
    return std::optional<std::string>();
}

SysResult<void> FileSystem::kill_privileges(Node* node, int fd, const std::optional<std::string>& path,
                                            const InGroup& in_group) {
    const auto info = stat_fd(fd);
    if (!info) return fail(info.error());
    const std::uint32_t mode = effects::without_set_id(*info, in_group);
    if (mode == (info->mode & 07777)) return {};
    if (!path) return change_mode(fd, mode);
    AttributesRecord r;
    r.object = node->id;
    r.path = *path;
    r.valid = AttributesRecord::kMode;
    r.mode = mode;
    auto pending = mutator_.begin(r, node->id.ino);
    if (!pending) return fail(pending.error());
    if (const auto done = change_mode(fd, mode); !done) return done;
    pending->commit(r);
    return {};
}

SysResult<std::size_t> FileSystem::write(OpenFile& file, ByteView data, std::uint64_t offset, const WriteHow& how) {
    Node* const node = file.node;
    const int fd = file.fd.get();
    return with_object(node, [&]() -> SysResult<std::size_t> {
        const auto path = recorded_path(node, fd);
        if (!path) return fail(path.error());
        if (how.kill_suidgid != nullptr) {
            if (const auto killed = kill_privileges(node, fd, *path, *how.kill_suidgid); !killed)
                return fail(killed.error());
        }
        settler_.before_late_change(node, fd);
        std::uint64_t at = offset;
        if (how.append) {
            const auto info = stat_fd(fd);
            if (!info) return fail(info.error());
            at = info->size;
        }
        std::size_t done = 0;
        while (done < data.size()) {
            const ByteView piece = data.subspan(done, std::min(data.size() - done, kMaxWriteBytes));
            auto n = *path ? mutator_.write(fd, {node->id, **path, at + done, piece},
                                            [&](Lsn lsn) { settler_.touched(node, lsn); })
                           : write_most(fd, piece, at + done);
            if (!n && done == 0) return n;
            if (!n) break;
            done += *n;
            if (*n < piece.size()) break;
        }
        return done;
    });
}

SysResult<void> FileSystem::fallocate(OpenFile& file, int mode, std::uint64_t offset, std::uint64_t length,
                                      const InGroup* kill_suidgid) {
    Node* const node = file.node;
    return with_object(node, [&]() -> SysResult<void> {
        const auto path = recorded_path(node, file.fd.get());
        if (!path) return fail(path.error());
        if (kill_suidgid != nullptr) {
            if (const auto killed = kill_privileges(node, file.fd.get(), *path, *kill_suidgid); !killed) return killed;
        }
        settler_.before_late_change(node, file.fd.get());
        FallocateRecord r{node->id, {}, static_cast<std::uint32_t>(mode), offset, length};
        if (!*path) return effects::fallocate(file.fd.get(), r);
        r.path = **path;
        auto pending = mutator_.begin(r, node->id.ino);
        if (!pending) return fail(pending.error());
        const auto done = effects::fallocate(file.fd.get(), r);
        settler_.touched(node, pending->lsn());
        pending->commit(done ? Record(r) : Record(effects::write_of_nothing(r)));
        return done;
    });
}

SysResult<std::size_t> FileSystem::copy_range(OpenFile& from, std::uint64_t from_offset, OpenFile& to,
                                              std::uint64_t to_offset, std::uint64_t length,
                                              const InGroup* kill_suidgid) {
    Node* const node = to.node;
    // A source that has no name is not on the replicas: the kernel then copies by reading and writing.
    if (!nodes_.has_name(from.node)) return fail(EOPNOTSUPP);
    OpLock lock(locks_);
    lock.change_objects(from.node->id.ino, node->id.ino);
    const auto from_path = nodes_.path(from.node);
    const auto path = nodes_.path(node);
    if (!from_path || !path) return fail(EOPNOTSUPP);
    if (kill_suidgid != nullptr) {
        const auto killed = kill_privileges(node, to.fd.get(), std::optional<std::string>(*path), *kill_suidgid);
        if (!killed) return fail(killed.error());
    }
    const auto source = stat_fd(from.fd.get());
    if (!source) return fail(source.error());
    const std::uint64_t available = source->size - std::min(source->size, from_offset);
    // The source's end may still be in the kernel, which then copies by reading and writing.
    if (kernel_caches_writes() && length > available) return fail(EOPNOTSUPP);
    // What the copy itself puts behind the end of its own file is not copied again, also when it is carried out once more after
    // a crash.
    length = std::min({length, available, kMaxCopyBytes});
    if (length == 0) return 0;
    settler_.before_late_change(node, to.fd.get());
    CopyRangeRecord r{node->id, *from_path, *path, from_offset, to_offset, length};
    auto pending = mutator_.begin(r, node->id.ino, from.node->id.ino);
    if (!pending) return fail(pending.error());
    const auto copied = effects::copy_range(from.fd.get(), to.fd.get(), r);
    r.length = copied ? *copied : 0;
    settler_.touched(node, pending->lsn());
    pending->commit(r.length != 0 ? Record(r) : Record(effects::write_of_nothing(r)));
    if (!copied) return fail(copied.error());
    return static_cast<std::size_t>(r.length);
}

SysResult<std::uint64_t> FileSystem::seek(OpenFile& file, std::uint64_t offset, int whence) {
    const off_t at = ::lseek(file.fd.get(), static_cast<off_t>(offset), whence);
    if (at < 0) return fail_last();
    return static_cast<std::uint64_t>(at);
}

// The sync point is on its way to the slaves while `here` makes the object durable on this machine.
SysResult<Lsn> FileSystem::synced(const std::function<int()>& here) {
    const auto noted = [&] {
        const OpLock lock(
            locks_);  // under the tree's lock like every record: a hold of the writers finds none half done
        return mutator_.note(SyncRecord{});
    }();
    if (!noted) return fail(noted.error());
    about_to_wait();
    // An error here is final for the data it is about: it is reported, and never tried again.
    if (here() != 0) return fail_last();
    if (const auto durable = journal_.sync(*noted + kFrameHeaderBytes); !durable) return fail(durable.error());
    return *noted;
}

SysResult<Lsn> FileSystem::fsync(OpenFile& file, bool data_only) {
    const int fd = file.fd.get();
    return synced([&] { return data_only ? ::fdatasync(fd) : ::fsync(fd); });
}

SysResult<Lsn> FileSystem::sync_point() {
    return synced([] { return 0; });
}

// Tells the replicas of an object that is about to get its first name: built under a staging path, with ordinary records, while its
// lock is held.
SysResult<void> FileSystem::publish_unnamed(Node* node, const FileInfo& info, const std::string& stage_path) {
    const auto place = nodes_.place(node);
    if (!place) return fail(place.error());
    auto fd = open_place(*place, O_RDONLY);
    if (!fd) return fail(fd.error());
    const auto note = [&](const Record& r) -> SysResult<void> {
        const auto noted = mutator_.note(r);
        return noted ? SysResult<void>() : fail(noted.error());
    };
    CreateRecord made;
    made.object = node->id;
    made.path = stage_path;
    made.mode = info.mode;
    made.uid = info.uid;
    made.gid = info.gid;
    if (auto done = note(made); !done) return done;

    std::vector<std::byte> buffer(kMaxWriteBytes);
    SysResult<void> result;
    const auto copy = [&](std::uint64_t offset, std::uint64_t length, bool is_data) {
        while (is_data && length > 0) {
            const auto n =
                read_some(fd->get(), std::span(buffer).first(std::min<std::uint64_t>(length, buffer.size())), offset);
            if (!n) result = fail(n.error());
            if (!n || *n == 0) return result.has_value();
            result = note(WriteRecord{node->id, stage_path, offset, ByteView(buffer).first(*n)});
            if (!result) return false;
            offset += *n;
            length -= *n;
        }
        return true;
    };
    if (const auto visited = visit_extents(fd->get(), 0, info.size, copy); !visited) return fail(visited.error());
    if (!result) return result;

    const auto xattrs = read_all_xattrs(fd->get());
    if (!xattrs) return fail(xattrs.error());
    for (const auto& [name, value] : *xattrs) {
        if (auto done = note(SetXattrRecord{node->id, stage_path, name, value, info.mode & 07777}); !done) return done;
    }
    AttributesRecord final;
    final.object = node->id;
    final.path = stage_path;
    final.valid = AttributesRecord::kSize | AttributesRecord::kMode | AttributesRecord::kMtime;
    final.size = info.size;
    final.mode = info.mode & 07777;
    final.mtime_ns = info.mtime_ns;
    return note(final);
}

}  // namespace tdfs

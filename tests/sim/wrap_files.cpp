// The system calls on files of the daemons' code, redirected by the linker (--wrap, see CMakeLists.txt). Each is carried
// out for real on the process's directory; around it, the process may end, other threads may run, the disk may be in
// trouble, and what the disk would hold after a power cut is noted.
//
// Modification times are those of the simulated clock, and inode numbers count from the run's beginning, so that a run
// repeats itself exactly.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstring>

#include "tests/sim/real_calls.hpp"
#include "tests/sim/world.hpp"

namespace tdfs::sim {
namespace {

bool simulated() { return the_world != nullptr && the_world->current() != nullptr; }

std::uint64_t ino_at(int dir, const char* name) {
    struct statx s {};
    const int flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
    return __real_statx(dir, name, flags, STATX_INO, &s) == 0 ? s.stx_ino : 0;
}
std::uint64_t ino_of(int fd) { return ino_at(fd, ""); }

std::string path_of(int fd) {
    std::array<char, PATH_MAX> path{};
    const auto link = "/proc/self/fd/" + std::to_string(fd);
    const auto n = ::readlink(link.c_str(), path.data(), path.size());
    return n < 0 ? std::string() : std::string(path.data(), static_cast<std::size_t>(n));
}

void touch(std::uint64_t ino) { the_world->mtimes[ino] = the_world->wall_ns(); }

// Nothing but the process's own directory may change.
void check_inside(const std::string& path) {
    const Process& p = *the_world->current();
    if (path == p.dir || path.starts_with(p.dir + "/")) return;
    the_world->fail(p.name + " changes something outside of its directory: " + path);
}

struct Call {
    const char* what;
    int fd;
    unsigned kind = 0;         // of BadSpell, if it may fail by itself
    bool takes_space = false;  // a full disk refuses it
    // A file system that cannot write data has set the file's time already.
    bool sets_time_first = false;
};

int failed(int error) {
    errno = error;
    return -1;
}

// What every changing call has around it. `after` is called when it succeeded.
template <class Real, class After>
long changing(const Call& call, const Real& real, const After& after) {
    World& world = *the_world;
    world.at_call(call.what);
    Process& p = *world.current();
    check_inside(path_of(call.fd));
    const bool last = world.is_last_call();
    if (last && world.random.one_in(2)) world.die(p);
    const bool is_full = call.takes_space && world.scheduler.now() < p.full_until;
    if (is_full || world.disk_fails(call.kind, call.what)) {
        if (call.sets_time_first) touch(ino_of(call.fd));
        return failed(is_full ? ENOSPC : EIO);
    }
    const long result = real();
    const int error = errno;
    if (result >= 0) after();
    if (last) world.die(p);
    errno = error;
    return result;
}

void own(int fd) {
    if (fd < 0) return;
    the_world->owner_of[fd] = the_world->current()->id;
    the_world->errors_told_at_open[fd] = the_world->current()->disk.errors_told;
}

int fd_in(const char* proc_path) {
    int fd = -1;
    return std::sscanf(proc_path, "/proc/self/fd/%d", &fd) == 1 ? fd : -1;
}

bool is_segment(int fd) { return path_of(fd).ends_with(".seg"); }

// How much of a write the process still gets done.
std::size_t within_life(std::uint64_t offset, std::size_t bytes) {
    constexpr std::uint64_t kPage = 4096;
    World& world = *the_world;
    if (!world.is_last_call()) return bytes;
    const auto first = std::min<std::uint64_t>(bytes, kPage - offset % kPage);
    const auto pages = (bytes - first + kPage - 1) / kPage + 1;
    const auto done = world.random.below(pages + 1);
    return done == 0 ? 0 : std::min<std::size_t>(bytes, first + (done - 1) * kPage);
}

// And how much of it a failing disk takes.
std::size_t within_health(std::size_t bytes) {
    World& world = *the_world;
    if (bytes < 2 || !world.disk_fails(BadSpell::kContent, "write in part")) return bytes;
    return world.current()->chance.between(1, bytes - 1);
}

void content_changed(int fd, std::uint64_t offset, std::uint64_t bytes) {
    const auto ino = ino_of(fd);
    touch(ino);
    the_world->current()->disk.written(ino, offset, bytes);
}

void end_moved(int fd, std::uint64_t size) {
    const auto ino = ino_of(fd);
    touch(ino);
    the_world->current()->disk.cut(ino, size);
}

int rename_call(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
    const auto moved = ino_at(from_dir, from);
    const auto there = ino_at(to_dir, to);
    return static_cast<int>(changing(
        {"rename", to_dir, BadSpell::kNames}, [&] { return __real_renameat2(from_dir, from, to_dir, to, flags); },
        [&] {
            if (moved == there) return;  // two names of one object: nothing happens
            const auto one = ino_of(from_dir), other = ino_of(to_dir);
            touch(one);
            touch(other);
            const bool exchange = (flags & RENAME_EXCHANGE) != 0;
            std::vector<std::uint64_t> objects{moved};
            if (there != 0) objects.push_back(there);
            the_world->current()->disk.renamed({{one, from, exchange ? there : 0}, {other, to, moved}}, objects);
        }));
}

// A sync that is a killed process's last has told nobody of its error: the next one tells.
bool sync_fails(int fd) {
    World& world = *the_world;
    Process& p = *world.current();
    struct stat s {};
    const bool fails = world.disk_fails(BadSpell::kSyncs, "fsync");
    if (::fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)) return fails;
    if (fails) p.disk.lose_file(fd, p.chance);
    return p.disk.owes_error(s.st_ino, !world.is_last_call());
}

bool syncfs_fails(int fd) {
    World& world = *the_world;
    Process& p = *world.current();
    if (world.disk_fails(BadSpell::kSyncs, "syncfs")) p.disk.lose_some(p.chance);
    auto& told = world.errors_told_at_open[fd];
    if (p.disk.errors() == told) return false;
    if (!world.is_last_call()) told = p.disk.errors_told = p.disk.errors();
    return true;
}

// After something new has got a name.
void born(int dir, const char* name) {
    const auto parent = ino_of(dir);
    const auto ino = ino_at(dir, name);
    touch(parent);
    touch(ino);
    the_world->current()->disk.created(ino, path_of(dir) + "/" + name);
    the_world->current()->disk.renamed({{parent, name, ino}}, {ino});
}

}  // namespace
}  // namespace tdfs::sim

using namespace tdfs::sim;

// NOLINTBEGIN(*-reserved-identifier): the linker's names
extern "C" {

int __wrap_openat(int dir, const char* name, int flags, ...) {
    mode_t mode = 0;
    va_list arguments;
    va_start(arguments, flags);
    if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (!simulated()) return __real_openat(dir, name, flags, mode);
    int fd = -1;
    const bool is_new = (flags & O_CREAT) != 0 && ino_at(dir, name) == 0;
    if (is_new || (flags & O_TMPFILE) == O_TMPFILE) {
        fd = static_cast<int>(changing(
            {"create", dir, BadSpell::kNames, true}, [&] { return __real_openat(dir, name, flags, mode); },
            [&] {
                if (is_new) born(dir, name);
            }));
    } else {
        if (dir >= 0 && the_world->disk_fails(BadSpell::kNames, "open")) return failed(EIO);
        fd = __real_openat(dir, name, flags, mode);
        if (fd >= 0 && (flags & O_TRUNC) != 0) touch(ino_of(fd));
    }
    own(fd);
    return fd;
}

int __wrap_open(const char* path, int flags, ...) {
    mode_t mode = 0;
    va_list arguments;
    va_start(arguments, flags);
    if ((flags & O_CREAT) != 0) mode = va_arg(arguments, mode_t);
    va_end(arguments);
    const int fd = __real_open(path, flags, mode);
    if (simulated()) own(fd);
    return fd;
}

int __wrap_close(int fd) {
    if (simulated()) {
        the_world->network.closed(fd, false);
        the_world->events.erase(fd);
        the_world->owner_of.erase(fd);
        the_world->errors_told_at_open.erase(fd);
    }
    return __real_close(fd);
}

ssize_t __wrap_pwrite(int fd, const void* from, size_t bytes, off_t offset) {
    if (!simulated()) return __real_pwrite(fd, from, bytes, offset);
    const bool is_full = the_world->scheduler.now() < the_world->current()->full_until;
    const bool takes_space = is_full && !is_segment(fd);  // a segment's space is held
    const auto at = static_cast<std::uint64_t>(offset);
    return changing(
        {"write", fd, BadSpell::kContent, takes_space, true},
        [&] { return __real_pwrite(fd, from, within_health(within_life(at, bytes)), offset); },
        [&] { content_changed(fd, at, bytes); });
}

ssize_t __wrap_pwritev(int fd, const iovec* parts, int count, off_t offset) {
    if (!simulated()) return __real_pwritev(fd, parts, count, offset);
    tdfs::Bytes all;
    for (int i = 0; i < count; ++i) {
        const auto* const at = static_cast<const std::byte*>(parts[i].iov_base);
        all.insert(all.end(), at, at + parts[i].iov_len);
    }
    return __wrap_pwrite(fd, all.data(), all.size(), offset);
}

int __wrap_ftruncate(int fd, off_t size) {
    if (!simulated()) return __real_ftruncate(fd, size);
    return static_cast<int>(changing(
        {"truncate", fd, BadSpell::kContent}, [&] { return __real_ftruncate(fd, size); },
        [&] { end_moved(fd, static_cast<std::uint64_t>(size)); }));
}

int __wrap_truncate(const char* path, off_t size) {
    if (!simulated()) return __real_truncate(path, size);
    const int fd = fd_in(path);
    return static_cast<int>(changing(
        {"truncate", fd, BadSpell::kContent}, [&] { return __real_truncate(path, size); },
        [&] { end_moved(fd, static_cast<std::uint64_t>(size)); }));
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t length) {
    if (!simulated()) return __real_fallocate(fd, mode, offset, length);
    return static_cast<int>(changing(
        {"fallocate", fd, BadSpell::kContent, true, true}, [&] { return __real_fallocate(fd, mode, offset, length); },
        [&] { content_changed(fd, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length)); }));
}

// The space is held by saying so: taking it for real costs too much time.
int __wrap_posix_fallocate(int fd, off_t offset, off_t length) {
    if (!simulated()) return ::posix_fallocate(fd, offset, length);
    struct stat s {};
    if (::fstat(fd, &s) != 0) return errno;
    const auto grow = [&] { return s.st_size < offset + length ? __real_ftruncate(fd, offset + length) : 0; };
    return changing({"preallocate", fd, BadSpell::kContent, true}, grow, [] {}) == 0 ? 0 : errno;
}

ssize_t __wrap_copy_file_range(int from, off_t* in, int to, off_t* out, size_t length, unsigned flags) {
    if (!simulated()) return __real_copy_file_range(from, in, to, out, length, flags);
    ssize_t copied = 0;
    return changing(
        {"copy", to, BadSpell::kContent, true, true},
        [&] { return copied = __real_copy_file_range(from, in, to, out, length, flags); },
        [&] {
            if (copied <= 0) return;
            const auto n = static_cast<std::uint64_t>(copied);
            content_changed(to, static_cast<std::uint64_t>(*out) - n, n);
        });
}

int __wrap_mkdirat(int dir, const char* name, mode_t mode) {
    if (!simulated()) return __real_mkdirat(dir, name, mode);
    return static_cast<int>(changing(
        {"mkdir", dir, BadSpell::kNames, true}, [&] { return __real_mkdirat(dir, name, mode); },
        [&] { born(dir, name); }));
}

int __wrap_mknodat(int dir, const char* name, mode_t mode, dev_t device) {
    if (!simulated()) return __real_mknodat(dir, name, mode, device);
    return static_cast<int>(changing(
        {"mknod", dir, BadSpell::kNames, true}, [&] { return __real_mknodat(dir, name, mode, device); },
        [&] { born(dir, name); }));
}

int __wrap_symlinkat(const char* target, int dir, const char* name) {
    if (!simulated()) return __real_symlinkat(target, dir, name);
    return static_cast<int>(changing(
        {"symlink", dir, BadSpell::kNames, true}, [&] { return __real_symlinkat(target, dir, name); },
        [&] { born(dir, name); }));
}

int __wrap_linkat(int from_dir, const char* from, int dir, const char* name, int flags) {
    if (!simulated()) return __real_linkat(from_dir, from, dir, name, flags);
    return static_cast<int>(changing(
        {"link", dir, BadSpell::kNames, true}, [&] { return __real_linkat(from_dir, from, dir, name, flags); },
        [&] {
            const auto parent = ino_of(dir), ino = ino_at(dir, name);
            touch(parent);
            if (from_dir == AT_FDCWD) the_world->current()->disk.created(ino, path_of(dir) + "/" + name);
            the_world->current()->disk.renamed({{parent, name, ino}}, {ino});
        }));
}

int __wrap_unlinkat(int dir, const char* name, int flags) {
    if (!simulated()) return __real_unlinkat(dir, name, flags);
    const auto ino = ino_at(dir, name);
    return static_cast<int>(changing(
        {"unlink", dir, BadSpell::kNames}, [&] { return __real_unlinkat(dir, name, flags); },
        [&] {
            const auto parent = ino_of(dir);
            touch(parent);
            the_world->current()->disk.renamed({{parent, name, 0}}, {ino});
        }));
}

int __wrap_renameat(int from_dir, const char* from, int to_dir, const char* to) {
    if (!simulated()) return __real_renameat2(from_dir, from, to_dir, to, 0);
    return rename_call(from_dir, from, to_dir, to, 0);
}

int __wrap_renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
    if (!simulated()) return __real_renameat2(from_dir, from, to_dir, to, flags);
    return rename_call(from_dir, from, to_dir, to, flags);
}

long __wrap_syscall(long number, ...) {
    std::array<long, 6> a{};
    va_list arguments;
    va_start(arguments, number);
    for (auto& one : a) one = va_arg(arguments, long);
    va_end(arguments);
    if (simulated() && number == SYS_renameat2) {
        return rename_call(static_cast<int>(a[0]), reinterpret_cast<const char*>(a[1]), static_cast<int>(a[2]),
                           reinterpret_cast<const char*>(a[3]), static_cast<unsigned>(a[4]));
    }
    if (simulated() && number == SYS_openat2 && the_world->disk_fails(BadSpell::kNames, "open")) return failed(EIO);
    const long result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (simulated() && number == SYS_openat2) own(static_cast<int>(result));
    return result;
}

int __wrap_fchmod(int fd, mode_t mode) {
    if (!simulated()) return __real_fchmod(fd, mode);
    return static_cast<int>(changing(
        {"chmod", fd, BadSpell::kNames}, [&] { return __real_fchmod(fd, mode); }, [] {}));
}

int __wrap_chmod(const char* path, mode_t mode) {
    if (!simulated()) return __real_chmod(path, mode);
    return static_cast<int>(changing(
        {"chmod", fd_in(path), BadSpell::kNames}, [&] { return __real_chmod(path, mode); }, [] {}));
}

int __wrap_fchownat(int dir, const char* name, uid_t uid, gid_t gid, int flags) {
    if (!simulated()) return __real_fchownat(dir, name, uid, gid, flags);
    return static_cast<int>(changing(
        {"chown", dir, BadSpell::kNames}, [&] { return __real_fchownat(dir, name, uid, gid, flags); }, [] {}));
}

int __wrap_utimensat(int dir, const char* name, const timespec* times, int flags) {
    if (!simulated()) {
        const int done = __real_utimensat(dir, name, times, flags);
        if (done == 0 && the_world != nullptr && times[1].tv_nsec != UTIME_OMIT) {
            the_world->mtimes[ino_at(dir, name)] = static_cast<std::uint64_t>(times[1].tv_sec) * 1'000'000'000 +
                                                   static_cast<std::uint64_t>(times[1].tv_nsec);
        }
        return done;
    }
    const auto after = [&] {
        if (times[1].tv_nsec == UTIME_OMIT) return;
        const auto ino = ino_at(dir, name);
        touch(ino);
        if (times[1].tv_nsec == UTIME_NOW) return;
        the_world->mtimes[ino] =
            static_cast<std::uint64_t>(times[1].tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(times[1].tv_nsec);
    };
    return static_cast<int>(changing(
        {"utimens", dir, BadSpell::kNames}, [&] { return __real_utimensat(dir, name, times, flags); }, after));
}

int __wrap_fsetxattr(int fd, const char* name, const void* value, size_t bytes, int flags) {
    if (!simulated()) return __real_fsetxattr(fd, name, value, bytes, flags);
    return static_cast<int>(changing(
        {"setxattr", fd, BadSpell::kNames, true}, [&] { return __real_fsetxattr(fd, name, value, bytes, flags); },
        [] {}));
}

int __wrap_setxattr(const char* path, const char* name, const void* value, size_t bytes, int flags) {
    if (!simulated()) return __real_setxattr(path, name, value, bytes, flags);
    return static_cast<int>(changing(
        {"setxattr", fd_in(path), BadSpell::kNames, true},
        [&] { return __real_setxattr(path, name, value, bytes, flags); }, [] {}));
}

int __wrap_fremovexattr(int fd, const char* name) {
    if (!simulated()) return __real_fremovexattr(fd, name);
    return static_cast<int>(changing(
        {"removexattr", fd, BadSpell::kNames}, [&] { return __real_fremovexattr(fd, name); }, [] {}));
}

int __wrap_removexattr(const char* path, const char* name) {
    if (!simulated()) return __real_removexattr(path, name);
    return static_cast<int>(changing(
        {"removexattr", fd_in(path), BadSpell::kNames}, [&] { return __real_removexattr(path, name); }, [] {}));
}

int __wrap_fsync(int fd) {
    if (!simulated()) return __real_fsync(fd);
    const auto is_tree = [fd] { return path_of(fd).find("/.tdfs") == std::string::npos; };
    const long synced = changing(
        {"fsync", fd}, [&] { return sync_fails(fd) ? failed(EIO) : 0; },
        [&] {
            struct stat s {};
            if (::fstat(fd, &s) != 0) return;
            if (the_world->mutated("fsync-of-a-file-forgotten") && S_ISREG(s.st_mode) && is_tree()) return;
            if (the_world->mutated("directory-sync-forgotten") && S_ISDIR(s.st_mode) && !is_tree()) return;
            Disk& disk = the_world->current()->disk;
            S_ISDIR(s.st_mode) ? disk.sync_directory(fd) : disk.sync_file(fd);
        });
    if (synced == 0) return 0;
    if (is_tree()) ++the_world->scheduler.current()->failed_syncs;
    return the_world->mutated("failed-fsync-taken-for-done") && is_tree() ? 0 : failed(EIO);
}

int __wrap_fdatasync(int fd) {
    if (!simulated()) return __real_fdatasync(fd);
    if (the_world->mutated("durable-before-fsync") && is_segment(fd)) return 0;
    return __wrap_fsync(fd);
}

int __wrap_syncfs(int fd) {
    if (!simulated()) return __real_syncfs(fd);
    const bool is_master = the_world->current()->id == 0;
    if (the_world->mutated(is_master ? "clean-stop-before-syncfs" : "checkpoint-before-syncfs")) return 0;
    return static_cast<int>(changing(
        {"syncfs", fd}, [&] { return syncfs_fails(fd) ? failed(EIO) : 0; },
        [] { the_world->current()->disk.sync_all(); }));
}

// The kernel lets go of what it takes for clean.
int __wrap_posix_fadvise(int fd, off_t offset, off_t length, int advice) {
    if (!simulated() || advice != POSIX_FADV_DONTNEED) return __real_posix_fadvise(fd, offset, length, advice);
    the_world->current()->disk.drop_cache(fd);
    return 0;
}

void* __wrap_mmap(void* at, size_t length, int protection, int flags, int fd, off_t offset) {
    void* const mapped = __real_mmap(at, length, protection, flags, fd, offset);
    if (simulated() && mapped != MAP_FAILED && (flags & MAP_SHARED) != 0 && fd >= 0) {
        the_world->mappings[mapped] = {length, ::fcntl(fd, F_DUPFD_CLOEXEC, 0), the_world->current()->id};
    }
    return mapped;
}

int __wrap_munmap(void* at, size_t length) {
    if (simulated()) {
        if (const auto it = the_world->mappings.find(at); it != the_world->mappings.end()) {
            __real_close(it->second.fd);
            the_world->mappings.erase(it);
        }
    }
    return __real_munmap(at, length);
}

int __wrap_msync(void* at, size_t length, int flags) {
    if (!simulated()) return __real_msync(at, length, flags);
    return __wrap_fsync(the_world->mappings.at(at).fd);
}

ssize_t __wrap_pread(int fd, void* into, size_t bytes, off_t offset) {
    if (simulated() && the_world->disk_fails(BadSpell::kReads, "read")) return failed(EIO);
    return __real_pread(fd, into, bytes, offset);
}

ssize_t __wrap_preadv2(int fd, const iovec* parts, int count, off_t offset, int flags) {
    if (simulated() && the_world->disk_fails(BadSpell::kReads, "read")) return failed(EIO);
    return __real_preadv2(fd, parts, count, offset, flags);
}

int __wrap_statx(int dir, const char* name, int flags, unsigned mask, struct statx* s) {
    const bool may_fail = simulated() && dir >= 0 && *name != '\0';  // what is open is in memory
    if (may_fail && the_world->disk_fails(BadSpell::kReads, "stat")) return failed(EIO);
    const int done = __real_statx(dir, name, flags, mask, s);
    if (done != 0 || the_world == nullptr) return done;
    if (const auto it = the_world->mtimes.find(s->stx_ino); it != the_world->mtimes.end()) {
        s->stx_mtime.tv_sec = static_cast<std::int64_t>(it->second / 1'000'000'000);
        s->stx_mtime.tv_nsec = static_cast<std::uint32_t>(it->second % 1'000'000'000);
    }
    if (!simulated()) return done;
    s->stx_btime = {1, 0, {}};
    s->stx_ctime = s->stx_mtime;
    s->stx_ino = the_world->virtual_ino(s->stx_ino);
    return done;
}

ssize_t __wrap_getdents64(int fd, void* buffer, size_t bytes) {
    if (simulated() && the_world->disk_fails(BadSpell::kReads, "list")) return failed(EIO);
    const ssize_t got = __real_getdents64(fd, buffer, bytes);
    if (!simulated()) return got;
    auto* const at = static_cast<char*>(buffer);
    for (ssize_t i = 0; i < got;) {
        std::uint64_t ino = 0;
        std::uint16_t length = 0;
        std::memcpy(&ino, at + i, sizeof ino);
        std::memcpy(&length, at + i + 16, sizeof length);
        ino = the_world->virtual_ino(ino);
        std::memcpy(at + i, &ino, sizeof ino);
        i += length;
    }
    return got;
}

}  // extern "C"
// NOLINTEND(*-reserved-identifier)

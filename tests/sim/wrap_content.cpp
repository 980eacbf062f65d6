// Opening and closing files, and what changes their content.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>

#include "tests/sim/wrap_calls.hpp"

namespace tdfs::sim {
namespace {

void own(int fd) {
    if (fd < 0) return;
    the_world->owner_of[fd] = the_world->current()->id;
    the_world->errors_told_at_open[fd] = the_world->current()->disk.errors_told;
}

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

long __wrap_syscall(long number, ...) {
    std::array<long, 6> a{};
    va_list arguments;
    va_start(arguments, number);
    for (auto& one : a) one = va_arg(arguments, long);
    va_end(arguments);
    if (simulated() && number == SYS_renameat2) {
        return ::renameat2(static_cast<int>(a[0]), reinterpret_cast<const char*>(a[1]), static_cast<int>(a[2]),
                           reinterpret_cast<const char*>(a[3]), static_cast<unsigned>(a[4]));
    }
    if (simulated() && number == SYS_openat2 && the_world->disk_fails(BadSpell::kNames, "open")) return failed(EIO);
    const long result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (simulated() && number == SYS_openat2) own(static_cast<int>(result));
    return result;
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

}  // extern "C"
// NOLINTEND(*-reserved-identifier)

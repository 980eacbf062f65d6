// What makes, moves and removes names, and what changes attributes.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "tests/sim/wrap_calls.hpp"

namespace tdfs::sim {
namespace {

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

}  // namespace
}  // namespace tdfs::sim

using namespace tdfs::sim;

// NOLINTBEGIN(*-reserved-identifier): the linker's names
extern "C" {

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

}  // extern "C"
// NOLINTEND(*-reserved-identifier)

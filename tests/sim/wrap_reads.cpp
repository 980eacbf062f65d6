// Reading content, attributes and listings.
#include <sys/stat.h>
#include <sys/uio.h>

#include <cstring>

#include "tests/sim/wrap_calls.hpp"

using namespace tdfs::sim;

// NOLINTBEGIN(*-reserved-identifier): the linker's names
extern "C" {

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

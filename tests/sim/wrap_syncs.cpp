// What makes things durable, mapped files included, and what is lost where that fails.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/sim/wrap_calls.hpp"

namespace tdfs::sim {
namespace {

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
}  // namespace
}  // namespace tdfs::sim

using namespace tdfs::sim;

// NOLINTBEGIN(*-reserved-identifier): the linker's names
extern "C" {

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

}  // extern "C"
// NOLINTEND(*-reserved-identifier)

#include "tests/sim/wrap_calls.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>

namespace tdfs::sim {

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

void check_inside(const std::string& path) {
    const Process& p = *the_world->current();
    if (path == p.dir || path.starts_with(p.dir + "/")) return;
    the_world->fail(p.name + " changes something outside of its directory: " + path);
}

int fd_in(const char* proc_path) {
    int fd = -1;
    return std::sscanf(proc_path, "/proc/self/fd/%d", &fd) == 1 ? fd : -1;
}

bool is_segment(int fd) { return path_of(fd).ends_with(".seg"); }

void born(int dir, const char* name) {
    const auto parent = ino_of(dir);
    const auto ino = ino_at(dir, name);
    touch(parent);
    touch(ino);
    the_world->current()->disk.created(ino, path_of(dir) + "/" + name);
    the_world->current()->disk.renamed({{parent, name, ino}}, {ino});
}

}  // namespace tdfs::sim

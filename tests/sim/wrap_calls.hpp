// What all system calls on files have around them where the linker leads them through the simulator (--wrap, see
// CMakeLists.txt): they are carried out for real on the process's directory; before and after, the process may end, other
// threads may run, the disk may be in trouble, and what the disk would hold after a power cut is noted.
//
// Modification times are those of the simulated clock, and inode numbers count from the run's beginning, so that a run
// repeats itself exactly.
#pragma once

#include <cerrno>
#include <cstdint>
#include <string>

#include "tests/sim/real_calls.hpp"
#include "tests/sim/world.hpp"

namespace tdfs::sim {

[[nodiscard]] bool simulated();  // by a thread of a daemon

[[nodiscard]] std::uint64_t ino_at(int dir, const char* name);  // the real one; 0: nothing is there
[[nodiscard]] std::uint64_t ino_of(int fd);
[[nodiscard]] std::string path_of(int fd);
[[nodiscard]] bool is_segment(int fd);           // of a journal or spool
[[nodiscard]] int fd_in(const char* proc_path);  // of /proc/self/fd/N; -1: not one

void touch(std::uint64_t ino);               // its modification time is now
void born(int dir, const char* name);        // something new has got a name
void check_inside(const std::string& path);  // nothing but the process's own directory may change

struct Call {
    const char* what;
    int fd;
    unsigned kind = 0;         // of BadSpell, if it may fail by itself
    bool takes_space = false;  // a full disk refuses it
    // A file system that cannot write data has set the file's time already.
    bool sets_time_first = false;
};

inline int failed(int error) {
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

}  // namespace tdfs::sim

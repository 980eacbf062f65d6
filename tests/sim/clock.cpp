// In the place of common/os/clock.cpp: time and boots are simulated.
#include "common/os/file.hpp"
#include "tests/sim/world.hpp"

namespace tdfs {

std::uint64_t wall_clock_ns() { return sim::the_world->wall_ns(); }
std::uint64_t monotonic_ns() { return sim::the_world->scheduler.now(); }
std::string boot_id() { return sim::the_world->current()->boot; }

}  // namespace tdfs

// What the intercepted calls see: the processes, their clock, disks and links.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/sim/bad_spell.hpp"
#include "tests/sim/disk.hpp"
#include "tests/sim/network.hpp"
#include "tests/sim/random.hpp"
#include "tests/sim/scheduler.hpp"

namespace tdfs::sim {

enum class Death { kNone, kKilled, kPowerLost };

// A machine with one daemon on it.
struct Process {
    Process(int number, std::string called, std::string directory, Random random, Random of_spells)
        : id(number), name(std::move(called)), dir(std::move(directory)), disk(dir, random), chance(of_spells) {}

    const int id;
    const std::string name;
    const std::string dir;  // its only directory
    Disk disk;
    std::string boot;  // changes when the power comes back
    bool alive = false;
    Death death = Death::kNone;       // how the last run ended, for the director
    Death doom = Death::kNone;        // what is to happen ...
    std::uint64_t calls_to_doom = 0;  // ... at the so-manyth call from here on
    std::uint64_t full_until = 0;     // ENOSPC to whatever takes space
    BadSpell spell;
    Random chance;  // of what fails in bad spells
    std::uint64_t calls = 0;
};

struct Settings {
    std::uint64_t seed = 0;
    std::string mutation;      // which fault is built in; empty: none
    bool power = true;         // whether machines lose power
    bool disk_trouble = true;  // whether disks fill up and fail
    bool verbose = false;
    std::uint64_t calls_from = 0;  // when each call is told, too; 0: never
};

// A file in memory. Its descriptor is the simulator's own.
struct Mapping {
    std::size_t length;
    int fd;
    int process;
};

// One run's state. The interceptors are C functions that the linker puts in place of others, so they find it by a
// pointer that is set while a run goes on: the only global of the simulator.
struct World {
    explicit World(const Settings& s);

    const Settings settings;
    Random random;
    Scheduler scheduler;
    Network network;
    std::vector<std::unique_ptr<Process>> processes;
    std::unordered_map<int, std::uint64_t> events;               // eventfds and their counters
    std::unordered_map<int, int> owner_of;                       // descriptor -> process
    std::unordered_map<int, std::uint64_t> errors_told_at_open;  // by descriptor: later ones are news to its syncfs
    std::map<void*, Mapping> mappings;                           // of shared files
    std::unordered_map<std::uint64_t, std::uint64_t> mtimes;     // by inode, in simulated time
    // Inode numbers in the order in which they are first seen: the real ones depend on who else makes files there.
    std::uint64_t virtual_ino(std::uint64_t real) { return inos.try_emplace(real, inos.size() + 1).first->second; }
    std::unordered_map<std::uint64_t, std::uint64_t> inos;
    std::uint64_t call_ns = 2000;  // what one call takes
    std::uint64_t yield_in = 8;    // one call in so many lets others go first
    std::uint64_t trace = 0;       // hash over what happened, to tell runs apart
    int quiet = 0;                 // not 0: the simulator itself calls

    [[nodiscard]] Process* current();
    [[nodiscard]] Process& process(int id) { return *processes[static_cast<std::size_t>(id)]; }
    [[nodiscard]] bool mutated(const char* name) const { return settings.mutation == name; }
    [[nodiscard]] std::uint64_t wall_ns() const { return 1'700'000'000'000'000'000ull + scheduler.now(); }

    // Before an intercepted call of a process: takes time, lets others go first, or is its end.
    void at_call(const char* what);
    // Whether the call being made is the process's last: then it may happen in part.
    bool is_last_call();
    // Whether the current process's disk answers EIO to this call.
    bool disk_fails(unsigned kind, const char* what);
    [[noreturn]] void die(Process& p);
    void note(const char* what, std::uint64_t value);
    void say(const char* format, ...) __attribute__((format(printf, 2, 3)));
    // The run is over: something that was promised does not hold.
    [[noreturn]] void fail(const std::string& what);
    void bury(Process& p);  // descriptors, mappings and links of a process that has ended
};

extern World* the_world;  // NOLINT(*-non-const-global-variables): see World

// While it lives, calls are the simulator's own and go straight to the system.
class Quiet {
  public:
    Quiet() { ++the_world->quiet; }
    ~Quiet() { --the_world->quiet; }
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;
};

}  // namespace tdfs::sim

#include "tests/sim/world.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace tdfs::sim {

World* the_world = nullptr;

World::World(const Settings& s)
    : settings(s), random(s.seed), scheduler(random.fork()), network(*this, random.fork()) {}

Process* World::current() {
    const Fiber* const fiber = scheduler.current();
    if (fiber == nullptr || quiet != 0 || fiber->process < 0) return nullptr;
    return &process(fiber->process);
}

void World::note(const char* what, std::uint64_t value) {
    for (const char* c = what; *c != '\0'; ++c) trace = (trace ^ static_cast<unsigned char>(*c)) * 0x100000001b3ull;
    trace = (trace ^ value) * 0x100000001b3ull;
}

void World::at_call(const char* what) {
    Process& p = *current();
    ++p.calls;
    scheduler.spend(call_ns);
    if (settings.calls_from != 0 && scheduler.now() >= settings.calls_from) say("%s: %s", p.name.c_str(), what);
    scheduler.current()->last_call = what;
    note(what, scheduler.now());
    if (p.doom != Death::kNone) {
        if (p.calls_to_doom == 0) die(p);
        --p.calls_to_doom;
    }
    if (random.one_in(yield_in)) scheduler.yield();
}

bool World::is_last_call() {
    const Process& p = *current();
    return p.doom != Death::kNone && p.calls_to_doom == 0;
}

bool World::disk_fails(unsigned kind, const char* what) {
    Process& p = *current();
    if (scheduler.now() >= p.spell.until || (p.spell.kinds & kind) == 0 || !p.chance.one_in(p.spell.one_in))
        return false;
    say("%s: EIO to %s", p.name.c_str(), what);
    note("EIO", scheduler.now());
    return true;
}

void World::die(Process& p) {
    say("%s %s", p.name.c_str(), p.doom == Death::kKilled ? "is killed" : "loses power");
    p.alive = false;
    p.death = p.doom;
    p.doom = Death::kNone;
    scheduler.kill(p.id);
    std::abort();  // nobody comes back from there
}

void World::bury(Process& p) {
    for (auto it = owner_of.begin(); it != owner_of.end();) {
        if (it->second != p.id) {
            ++it;
            continue;
        }
        network.closed(it->first, p.death == Death::kPowerLost);
        events.erase(it->first);
        ::close(it->first);
        errors_told_at_open.erase(it->first);
        it = owner_of.erase(it);
    }
    for (auto it = mappings.begin(); it != mappings.end();) {
        if (it->second.process != p.id) {
            ++it;
            continue;
        }
        ::munmap(it->first, it->second.length);
        ::close(it->second.fd);
        it = mappings.erase(it);
    }
}

void World::say(const char* format, ...) {
    if (!settings.verbose) return;
    std::fprintf(stderr, "%10.6f  ", static_cast<double>(scheduler.now()) / 1e9);
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
}

void World::fail(const std::string& what) {
    say("FAILED: %s\n%s", what.c_str(), scheduler.text().c_str());
    std::printf("seed %llu failed at %.6f s: %s\n", static_cast<unsigned long long>(settings.seed),
                static_cast<double>(scheduler.now()) / 1e9, what.c_str());
    std::fflush(stdout);
    ::_exit(1);
}

}  // namespace tdfs::sim

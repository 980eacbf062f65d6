// Threads that take turns: the daemons' std::threads run here one at a time, in an order that the seed decides.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/random.hpp"

namespace tdfs::sim {

inline constexpr std::uint64_t kNever = ~0ull;

// One thread of a simulated process: a stack of its own, left at the calls that are intercepted only.
struct Fiber {
    int process = 0;
    enum class State { kReady, kBlocked, kDone } state = State::kReady;
    std::function<void()> work;
    std::function<bool()> ready;      // while blocked: whether what it waits for is there
    std::uint64_t deadline = kNever;  // while blocked
    const char* last_call = "";       // for people
    int saved_errno = 0;
    std::uint64_t failed_syncs = 0;  // of the tree's files and directories, that it was told of
    ucontext_t context{};
};

// Also the clock: it stands still while something runs, and jumps to the next deadline when nothing can.
//
// A killed process's fibers are simply never resumed: nothing of them runs any more, no destructor either, as after
// kill -9. Their stacks and memory stay until the run's own process ends, so that no address is used twice.
class Scheduler {
  public:
    explicit Scheduler(Random random) : random_(random) {}
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;

    [[nodiscard]] std::uint64_t now() const { return now_; }
    void spend(std::uint64_t ns) { now_ += ns; }

    Fiber* spawn(int process, std::function<void()> work);
    [[nodiscard]] Fiber* current() const { return current_; }

    // Of the fiber that runs: lets others go first; waits until `ready`, or for false until the deadline.
    void yield();
    bool block(std::function<bool()> ready, std::uint64_t deadline);
    // All fibers of a process end here. Does not return when the current one is of them.
    void kill(int process);

    // Lets one fiber run until it gives way. Where none can, the clock goes to the next deadline or `next_event`; false:
    // not even that is there.
    bool step(std::uint64_t next_event);

    [[nodiscard]] std::string text() const;  // where each fiber stands, a line each

    [[nodiscard]] std::uint64_t switches() const { return switches_; }

  private:
    static void enter(unsigned low, unsigned high);
    void switch_to(Fiber& fiber);
    void leave();  // back to step()

    Random random_;
    std::uint64_t now_ = 1'000'000'000;
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<std::unique_ptr<Fiber>> ended_;  // others may still ask for them
    std::vector<Fiber*> runnable_;
    Fiber* current_ = nullptr;
    ucontext_t main_{};
    std::uint64_t switches_ = 0;
};

}  // namespace tdfs::sim

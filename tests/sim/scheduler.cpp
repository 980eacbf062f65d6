#include "tests/sim/scheduler.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "proto/result.hpp"

namespace tdfs::sim {

namespace {

constexpr std::size_t kStackBytes = 512 * 1024;
constexpr std::size_t kGuardBytes = 4096;

void* new_stack() {
    void* const at =
        ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TDFS_INVARIANT(at != MAP_FAILED, "there is memory for a stack");
    TDFS_INVARIANT(::mprotect(at, kGuardBytes, PROT_NONE) == 0, "a stack's end can be guarded");
    return at;
}

}  // namespace

Fiber* Scheduler::spawn(int process, std::function<void()> work) {
    auto fiber = std::make_unique<Fiber>();
    fiber->process = process;
    fiber->work = std::move(work);
    TDFS_INVARIANT(::getcontext(&fiber->context) == 0, "a context can be had");
    fiber->context.uc_stack.ss_sp = new_stack();
    fiber->context.uc_stack.ss_size = kStackBytes;
    const auto self = reinterpret_cast<std::uintptr_t>(this);
    ::makecontext(&fiber->context, reinterpret_cast<void (*)()>(&Scheduler::enter), 2, static_cast<unsigned>(self),
                  static_cast<unsigned>(self >> 32));
    fibers_.push_back(std::move(fiber));
    return fibers_.back().get();
}

// makecontext hands on ints only.
void Scheduler::enter(unsigned low, unsigned high) {
    auto& self = *reinterpret_cast<Scheduler*>(static_cast<std::uintptr_t>(high) << 32 | low);
    self.current_->work();
    self.current_->state = Fiber::State::kDone;
    self.leave();
}

void Scheduler::leave() {
    Fiber& fiber = *current_;
    fiber.saved_errno = errno;
    TDFS_INVARIANT(::swapcontext(&fiber.context, &main_) == 0, "a context can be left");
    errno = fiber.saved_errno;
}

void Scheduler::yield() { leave(); }

bool Scheduler::block(std::function<bool()> ready, std::uint64_t deadline) {
    Fiber& fiber = *current_;
    if (ready()) return true;
    fiber.state = Fiber::State::kBlocked;
    fiber.ready = std::move(ready);
    fiber.deadline = deadline;
    leave();
    const bool is_ready = fiber.ready();
    fiber.ready = nullptr;
    return is_ready;
}

void Scheduler::kill(int process) {
    bool own = false;
    for (const auto& fiber : fibers_) {
        if (fiber->process != process || fiber->state == Fiber::State::kDone) continue;
        fiber->state = Fiber::State::kDone;
        own = own || fiber.get() == current_;
    }
    if (own) leave();
}

bool Scheduler::step(std::uint64_t next_event) {
    runnable_.clear();
    std::uint64_t next = next_event;
    for (auto& fiber : fibers_) {
        if (fiber->state == Fiber::State::kDone) ended_.push_back(std::move(fiber));
    }
    std::erase(fibers_, nullptr);
    for (const auto& fiber : fibers_) {
        if (fiber->state == Fiber::State::kBlocked) {
            if (now_ < fiber->deadline && !fiber->ready()) {
                next = std::min(next, fiber->deadline);
                continue;
            }
        }
        runnable_.push_back(fiber.get());
    }
    if (runnable_.empty()) {
        if (next == kNever) return false;
        now_ = std::max(now_, next);
        return true;
    }
    Fiber& fiber = *runnable_[random_.below(runnable_.size())];
    fiber.state = Fiber::State::kReady;
    switch_to(fiber);
    return true;
}

std::string Scheduler::text() const {
    std::string text;
    for (const auto& fiber : fibers_) {
        if (fiber->state == Fiber::State::kDone) continue;
        text += "  process " + std::to_string(fiber->process) + " in " + fiber->last_call +
                (fiber->state == Fiber::State::kBlocked ? ", waits" : "") + "\n";
    }
    return text;
}

void Scheduler::switch_to(Fiber& fiber) {
    ++switches_;
    current_ = &fiber;
    TDFS_INVARIANT(::swapcontext(&main_, &fiber.context) == 0, "a context can be entered");
    current_ = nullptr;
}

}  // namespace tdfs::sim

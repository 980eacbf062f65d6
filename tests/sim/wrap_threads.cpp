// Threads, locks, condition variables, poll and the steady clock of the daemons' code, redirected by the linker
// (--wrap, see CMakeLists.txt) to the scheduler.
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <list>
#include <mutex>
#include <thread>
#include <type_traits>
#include <unordered_map>

#include "tests/sim/world.hpp"

namespace tdfs::sim {
namespace {

// The state of a lock is kept here by address, since a killed process leaves its locks as they are.
struct RwState {
    int readers = 0;
    bool writing = false;
    int writers_waiting = 0;
};
struct Waiter {
    bool notified = false;
};
struct Locks {
    std::unordered_map<const void*, bool> held;
    std::unordered_map<const void*, RwState> shared;
    std::unordered_map<const void*, std::list<Waiter*>> waiting;
};
Locks& locks() {
    static Locks all;
    return all;
}

std::unordered_map<unsigned long, Fiber*>& threads() {
    static std::unordered_map<unsigned long, Fiber*> all;
    return all;
}

bool simulated() { return the_world != nullptr && the_world->current() != nullptr; }

void take(pthread_mutex_t* mutex) {
    const auto free = [mutex] { return !locks().held[mutex]; };
    if (!free()) the_world->scheduler.block(free, kNever);
    locks().held[mutex] = true;
}

bool wait_until(void* condition, pthread_mutex_t* mutex, std::uint64_t deadline) {
    the_world->scheduler.current()->last_call = deadline == kNever ? "wait" : "wait_until";
    Waiter self;
    auto& all = locks().waiting[condition];
    all.push_back(&self);
    locks().held[mutex] = false;
    const bool notified = the_world->scheduler.block([&self] { return self.notified; }, deadline);
    locks().waiting[condition].remove(&self);
    take(mutex);
    return notified;
}

void notify(void* condition, bool everybody) {
    for (Waiter* waiter : locks().waiting[condition]) {
        if (waiter->notified) continue;
        waiter->notified = true;
        if (!everybody) return;
    }
}

int poll_now(pollfd* fds, nfds_t count) {
    int ready = 0;
    for (nfds_t i = 0; i < count; ++i) {
        short events = 0;
        if (const auto event = the_world->events.find(fds[i].fd); event != the_world->events.end()) {
            events = event->second != 0 ? POLLIN : 0;
        } else if (the_world->network.knows(fds[i].fd)) {
            events = the_world->network.ready(fds[i].fd);
        }
        fds[i].revents = static_cast<short>(events & (fds[i].events | POLLERR | POLLHUP));
        if (fds[i].revents != 0) ++ready;
    }
    return ready;
}

}  // namespace
}  // namespace tdfs::sim

using namespace tdfs::sim;

// NOLINTBEGIN(*-reserved-identifier): the linker's names
extern "C" {

int __real_pthread_mutex_lock(pthread_mutex_t* mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t* mutex);
int __real_pthread_mutex_trylock(pthread_mutex_t* mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t* mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t* mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t* mutex);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t* lock);
int __wrap_pthread_rwlock_tryrdlock(pthread_rwlock_t* lock);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t* lock);
int __wrap_pthread_rwlock_unlock(pthread_rwlock_t* lock);
int __wrap_pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                                  const timespec* deadline);
int __wrap_poll(pollfd* fds, nfds_t count, int timeout_ms);
int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
ssize_t __real_read(int fd, void* into, size_t bytes);
ssize_t __wrap_read(int fd, void* into, size_t bytes);
ssize_t __real_write(int fd, const void* from, size_t bytes);
ssize_t __wrap_write(int fd, const void* from, size_t bytes);

int __wrap_pthread_mutex_lock(pthread_mutex_t* mutex) {
    if (!simulated()) return __real_pthread_mutex_lock(mutex);
    the_world->at_call("lock");
    take(mutex);
    return 0;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t* mutex) {
    if (!simulated()) return __real_pthread_mutex_trylock(mutex);
    the_world->at_call("trylock");
    if (locks().held[mutex]) return EBUSY;
    take(mutex);
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t* mutex) {
    if (!simulated()) return __real_pthread_mutex_unlock(mutex);
    locks().held[mutex] = false;
    return 0;
}

int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t* lock) {
    the_world->at_call("rdlock");
    auto& state = locks().shared[lock];
    const auto free = [&state] { return !state.writing && state.writers_waiting == 0; };
    if (!free()) the_world->scheduler.block(free, kNever);
    ++state.readers;
    return 0;
}

int __wrap_pthread_rwlock_tryrdlock(pthread_rwlock_t* lock) {
    the_world->at_call("tryrdlock");
    auto& state = locks().shared[lock];
    if (state.writing || state.writers_waiting > 0) return EBUSY;
    ++state.readers;
    return 0;
}

int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t* lock) {
    the_world->at_call("wrlock");
    auto& state = locks().shared[lock];
    const auto free = [&state] { return !state.writing && state.readers == 0; };
    if (!free()) {
        ++state.writers_waiting;
        the_world->scheduler.block(free, kNever);
        --state.writers_waiting;
    }
    state.writing = true;
    return 0;
}

int __wrap_pthread_rwlock_unlock(pthread_rwlock_t* lock) {
    auto& state = locks().shared[lock];
    if (state.writing) {
        state.writing = false;
    } else {
        --state.readers;
    }
    return 0;
}

int __wrap_pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t,
                                  const timespec* deadline) {
    const auto until =
        static_cast<std::uint64_t>(deadline->tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(deadline->tv_nsec);
    return wait_until(condition, mutex, until) ? 0 : ETIMEDOUT;
}

int __wrap_poll(pollfd* fds, nfds_t count, int timeout_ms) {
    the_world->at_call("poll");
    const auto deadline =
        timeout_ms < 0 ? kNever : the_world->scheduler.now() + static_cast<std::uint64_t>(timeout_ms) * 1'000'000;
    the_world->scheduler.block([=] { return poll_now(fds, count) != 0; }, deadline);
    return poll_now(fds, count);
}

int __wrap_eventfd(unsigned value, int flags) {
    const int fd = __real_eventfd(value, flags);
    if (!simulated() || fd < 0) return fd;
    the_world->events[fd] = value;
    the_world->owner_of[fd] = the_world->current()->id;
    return fd;
}

ssize_t __wrap_read(int fd, void* into, size_t bytes) {
    if (!simulated() || !the_world->events.contains(fd)) return __real_read(fd, into, bytes);
    auto& counter = the_world->events[fd];
    if (counter == 0) {
        errno = EAGAIN;
        return -1;
    }
    std::memcpy(into, &counter, sizeof counter);
    counter = 0;
    return sizeof counter;
}

ssize_t __wrap_write(int fd, const void* from, size_t bytes) {
    if (!simulated() || !the_world->events.contains(fd)) return __real_write(fd, from, bytes);
    std::uint64_t more = 0;
    std::memcpy(&more, from, sizeof more);
    the_world->events[fd] += more;
    return static_cast<ssize_t>(bytes);
}

}  // extern "C"

// What a std::thread runs has a name that is private from gcc 14 on; an explicit instantiation may say it all the same.
struct ThreadStateTag {};
auto thread_state(ThreadStateTag);
template <class State>
struct ThreadStateName {
    friend auto thread_state(ThreadStateTag) { return std::type_identity<State>(); }
};
template struct ThreadStateName<std::thread::_State>;
using ThreadState = decltype(thread_state(ThreadStateTag()))::type;

// The library's C++ functions go by their symbols.
std::chrono::steady_clock::time_point real_now() asm("__real__ZNSt6chrono3_V212steady_clock3nowEv");
std::chrono::steady_clock::time_point wrap_now() asm("__wrap__ZNSt6chrono3_V212steady_clock3nowEv");
void wrap_wait(std::condition_variable* condition, std::unique_lock<std::mutex>& lock) asm(
    "__wrap__ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE");
void wrap_notify_one(std::condition_variable* condition) asm("__wrap__ZNSt18condition_variable10notify_oneEv");
void wrap_notify_all(std::condition_variable* condition) asm("__wrap__ZNSt18condition_variable10notify_allEv");
void wrap_start(std::thread* thread, std::unique_ptr<ThreadState> state, void (*depend)()) asm(
    "__wrap__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE");
void wrap_join(std::thread* thread) asm("__wrap__ZNSt6thread4joinEv");
// NOLINTEND(*-reserved-identifier)

std::chrono::steady_clock::time_point wrap_now() {
    if (the_world == nullptr) return real_now();
    return std::chrono::steady_clock::time_point(
        std::chrono::nanoseconds(static_cast<std::int64_t>(the_world->scheduler.now())));
}

void wrap_wait(std::condition_variable* condition, std::unique_lock<std::mutex>& lock) {
    wait_until(condition->native_handle(), lock.mutex()->native_handle(), kNever);
}

void wrap_notify_one(std::condition_variable* condition) {
    if (simulated()) notify(condition->native_handle(), false);
}

void wrap_notify_all(std::condition_variable* condition) {
    if (simulated()) notify(condition->native_handle(), true);
}

static_assert(sizeof(std::thread) == sizeof(unsigned long));

void wrap_start(std::thread* thread, std::unique_ptr<ThreadState> state, void (*)()) {
    static unsigned long last = 0;
    const auto id = ++last;
    const std::shared_ptr<ThreadState> work(std::move(state));
    threads()[id] = the_world->scheduler.spawn(the_world->current()->id, [work] { work->_M_run(); });
    std::memcpy(static_cast<void*>(thread), &id, sizeof id);
}

void wrap_join(std::thread* thread) {
    unsigned long id = 0;
    std::memcpy(&id, static_cast<const void*>(thread), sizeof id);
    Fiber* const fiber = threads().at(id);
    the_world->scheduler.current()->last_call = "join";
    the_world->scheduler.block([fiber] { return fiber->state == Fiber::State::kDone; }, kNever);
    id = 0;
    std::memcpy(static_cast<void*>(thread), &id, sizeof id);
}

// Where an fsync waits for its slaves, without a thread of its own.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/control/status.hpp"
#include "master/sync_policy.hpp"
#include "proto/errno.hpp"
#include "proto/ids.hpp"

namespace tdfs {

// Whether a thread of the system will end as soon as it leaves the kernel: a fatal signal is pending, or it is gone.
[[nodiscard]] bool is_dying(pid_t thread);

// Stages of a request:
//   open        it has a place here and can be interrupted
//   park        its lsn is known: answered at once where that is confirmed or where nobody waits any more, else kept
//   answered    exactly once, by whoever takes it out: confirmed (a session's thread), late, given up by its application,
//               or stopped (the gate's thread)
//
// Degraded (SyncPolicy::Late::kDegrade): once a request has waited too long all are answered without the slaves, until
// these are seen to follow again within the time that a request may take. Blocked: they wait on, and it is said.
//
// A signal that the application survives does not end its fsync, as on any disk: after an interrupt the application is
// looked at (is_dying) every 100 ms. Nothing that is parked holds a lock or a thread.
//
// Invariant: a request answered with Errno(0) outside of degraded mode is confirmed by policy.slaves slaves at
// policy.level. Thread-safe; one thread of its own. Owned by main; answers are given without the lock.
class SyncGate {
  public:
    using Answer = std::function<void(Errno)>;
    using Ticket = std::uint64_t;
    using IsDying = bool (*)(pid_t);

    explicit SyncGate(const SyncPolicy& policy, IsDying dying = is_dying);
    ~SyncGate();  // stop()
    SyncGate(const SyncGate&) = delete;
    SyncGate& operator=(const SyncGate&) = delete;

    // `confirmed`: how far enough slaves are; any thread, called under the lock. Everything it uses lives until stop().
    void start(std::function<Lsn()> confirmed);
    // What is parked is answered EIO (nobody knows whether it is on the slaves), and what comes later too. When it returns, no
    // answer is being given by a thread of a session: the mount may go.
    void stop();
    [[nodiscard]] bool on() const { return policy_.on(); }

    // `who`: the thread that asks, 0 if unknown.
    Ticket open(pid_t who, Answer answer);
    void park(Ticket ticket, Lsn upto);
    void interrupt(Ticket ticket);  // of one that may have been answered already
    void moved();                   // a slave's position has
    [[nodiscard]] SyncStatus status() const;

  private:
    using Clock = std::chrono::steady_clock;
    struct Request {
        pid_t who = 0;
        Answer answer;
        bool parked = false;
        bool interrupted = false;
        Lsn upto;
        Clock::time_point since;
    };
    using Requests = std::map<Ticket, Request>;
    using Answered = std::vector<std::pair<Answer, Errno>>;

    void run();
    // Under mutex_. What is to be answered goes to `out`; give() does it, without the lock.
    void release_confirmed(Answered& out);
    void release_late(Clock::time_point now, Answered& out);
    void release_dying(Answered& out);
    void take(Requests::iterator at, Errno how, Answered& out);
    void look_for_recovery(Clock::time_point now);
    [[nodiscard]] Clock::time_point next_look(Clock::time_point now) const;
    void give(const Answered& answered);

    const SyncPolicy policy_;
    const IsDying is_dying_;
    std::function<Lsn()> confirmed_;  // set before there are requests
    std::thread thread_;

    mutable std::mutex mutex_;  // guards:
    std::condition_variable wake_;
    bool stopped_ = false;
    Ticket next_ticket_ = 1;
    Requests requests_;
    std::size_t parked_ = 0;
    std::condition_variable given_;
    std::size_t giving_ = 0;  // taken out, and perhaps not answered yet
    Lsn wanted_;              // the furthest that anybody has asked for
    bool late_ = false;       // degraded or blocked
    Clock::time_point late_since_;
    std::uint64_t late_before_ = 0;  // requests that were answered without slaves before this time
    Lsn probe_;                      // while degraded: once that is confirmed in time, slaves follow again
    Clock::time_point probe_since_;
    std::uint64_t asked_ = 0, waves_ = 0, unconfirmed_ = 0, lates_ = 0, given_up_ = 0;
};

}  // namespace tdfs

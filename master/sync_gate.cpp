#include "master/sync_gate.hpp"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <csignal>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

constexpr auto kLookAtDying = std::chrono::milliseconds(100);

std::string slaves_text(std::size_t count) { return std::to_string(count) + (count == 1 ? " slave" : " slaves"); }

double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
}

}  // namespace

bool is_dying(pid_t thread) {
    constexpr std::size_t kLimitBytes = 64 * 1024;
    constexpr std::string_view kField = "\nSigPnd:\t";
    if (thread <= 0) return true;  // of a namespace that is not seen from here: nobody can be asked
    const auto status = read_file(AT_FDCWD, "/proc/" + std::to_string(thread) + "/status", kLimitBytes);
    if (!status) return true;
    // A signal that ends the process is turned into a SIGKILL pending for each of its threads.
    const auto text = as_text(*status);
    const auto at = text.find(kField);
    if (at == std::string_view::npos) return true;
    std::uint64_t pending = 0;
    std::from_chars(text.data() + at + kField.size(), text.data() + text.size(), pending, 16);
    return (pending & (1ull << (SIGKILL - 1))) != 0;
}

SyncGate::SyncGate(const SyncPolicy& policy, IsDying dying) : policy_(policy), is_dying_(dying) {}

SyncGate::~SyncGate() { stop(); }

void SyncGate::start(std::function<Lsn()> confirmed) {
    confirmed_ = std::move(confirmed);
    if (on()) thread_ = std::thread([this] { run(); });
}

void SyncGate::stop() {
    Answered answered;
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        for (auto at = requests_.begin(); at != requests_.end();) {
            const auto next = std::next(at);
            if (at->second.parked) take(at, Errno(EIO), answered);
            at = next;
        }
    }
    wake_.notify_all();
    give(answered);
    if (thread_.joinable()) thread_.join();
    std::unique_lock lock(mutex_);
    given_.wait(lock, [this] { return giving_ == 0; });
}

SyncGate::Ticket SyncGate::open(pid_t who, Answer answer) {
    const std::lock_guard lock(mutex_);
    const Ticket ticket = next_ticket_++;
    Request& r = requests_[ticket];
    r.who = who;
    r.answer = std::move(answer);
    return ticket;
}

void SyncGate::park(Ticket ticket, Lsn upto) {
    Answered answered;
    {
        const std::lock_guard lock(mutex_);
        const auto at = requests_.find(ticket);
        TDFS_INVARIANT(at != requests_.end() && !at->second.parked, "a request is opened, then parked once");
        Request& r = at->second;
        r.parked = true;
        r.upto = upto;
        r.since = Clock::now();
        ++parked_;
        ++asked_;
        wanted_ = std::max(wanted_, upto);
        if (stopped_) {
            take(at, Errno(EIO), answered);
        } else if (confirmed_() >= upto) {
            ++waves_;
            take(at, Errno(0), answered);
        } else if (late_ && policy_.late == SyncPolicy::Late::kDegrade) {
            ++unconfirmed_;
            take(at, Errno(0), answered);
        }
    }
    if (answered.empty()) wake_.notify_all();  // there may be an earlier deadline now, or an interrupt to be looked at
    give(answered);
}

void SyncGate::interrupt(Ticket ticket) {
    {
        const std::lock_guard lock(mutex_);
        const auto at = requests_.find(ticket);
        if (at == requests_.end()) return;
        at->second.interrupted = true;
    }
    wake_.notify_all();
}

void SyncGate::moved() {
    Answered answered;
    {
        const std::lock_guard lock(mutex_);
        if (stopped_ || !confirmed_) return;
        release_confirmed(answered);
        look_for_recovery(Clock::now());
    }
    give(answered);
}

void SyncGate::run() {
    std::unique_lock lock(mutex_);
    while (!stopped_) {
        const auto now = Clock::now();
        Answered answered;
        release_dying(answered);
        release_late(now, answered);
        if (!answered.empty()) {
            lock.unlock();
            give(answered);
            lock.lock();
            continue;
        }
        const auto next = next_look(now);
        if (next == Clock::time_point::max()) {
            wake_.wait(lock);
        } else {
            wake_.wait_until(lock, next);
        }
    }
}

void SyncGate::take(Requests::iterator at, Errno how, Answered& out) {
    out.emplace_back(std::move(at->second.answer), how);
    --parked_;
    ++giving_;
    requests_.erase(at);
}

void SyncGate::release_confirmed(Answered& out) {
    if (parked_ == 0) return;
    const Lsn upto = confirmed_();
    const auto before = out.size();
    for (auto at = requests_.begin(); at != requests_.end();) {
        const auto next = std::next(at);
        if (at->second.parked && at->second.upto <= upto) take(at, Errno(0), out);
        at = next;
    }
    if (out.size() != before) ++waves_;
}

void SyncGate::release_dying(Answered& out) {
    for (auto at = requests_.begin(); at != requests_.end();) {
        const auto next = std::next(at);
        const Request& r = at->second;
        if (r.parked && r.interrupted && is_dying_(r.who)) {
            ++given_up_;
            take(at, Errno(EINTR), out);
        }
        at = next;
    }
}

void SyncGate::release_late(Clock::time_point now, Answered& out) {
    const bool degrade = policy_.late == SyncPolicy::Late::kDegrade;
    bool any_late = false;
    for (const auto& [ticket, r] : requests_) any_late = any_late || (r.parked && now - r.since >= policy_.timeout);
    if (!any_late) return;
    if (!late_) {
        late_ = true;
        late_since_ = now;
        late_before_ = unconfirmed_;
        probe_ = wanted_;
        probe_since_ = now;
        ++lates_;
        spdlog::warn("sync {}: fewer than {} confirmed ({}) within {} s; {}", degrade ? "degraded" : "blocked",
                     slaves_text(policy_.slaves), to_text(policy_.level),
                     static_cast<double>(policy_.timeout.count()) / 1000,
                     degrade ? "fsync does not wait for them until they are back" : "fsync waits until they are back");
    }
    if (!degrade) return;
    for (auto at = requests_.begin(); at != requests_.end();) {
        const auto next = std::next(at);
        if (at->second.parked) {
            ++unconfirmed_;
            take(at, Errno(0), out);
        }
        at = next;
    }
}

// While degraded, what is asked for goes on growing, and slaves are always a little behind it. So it counts how long they take
// for a place that was the furthest when the look began.
void SyncGate::look_for_recovery(Clock::time_point now) {
    if (!late_ || confirmed_() < probe_) return;
    const bool degrade = policy_.late == SyncPolicy::Late::kDegrade;
    if (degrade && confirmed_() < wanted_ && now - probe_since_ >= policy_.timeout) {
        probe_ = wanted_;
        probe_since_ = now;
        return;
    }
    late_ = false;
    spdlog::info("sync restored after {:.1f} s: {} confirmed again; {} fsyncs were not confirmed in time",
                 seconds_between(late_since_, now), slaves_text(policy_.slaves), unconfirmed_ - late_before_);
}

SyncGate::Clock::time_point SyncGate::next_look(Clock::time_point now) const {
    auto next = Clock::time_point::max();
    for (const auto& [ticket, r] : requests_) {
        if (!r.parked) continue;
        if (r.interrupted) next = std::min(next, now + kLookAtDying);
        if (now - r.since < policy_.timeout) next = std::min(next, r.since + policy_.timeout);
    }
    return next;
}

void SyncGate::give(const Answered& answered) {
    if (answered.empty()) return;
    for (const auto& [answer, how] : answered) answer(how);
    const std::lock_guard lock(mutex_);
    giving_ -= answered.size();
    if (giving_ == 0) given_.notify_all();
}

SyncStatus SyncGate::status() const {
    const std::lock_guard lock(mutex_);
    SyncStatus s;
    s.slaves = policy_.slaves;
    if (!on()) return s;
    s.level = to_text(policy_.level);
    s.late = to_text(policy_.late);
    s.timeout_seconds = static_cast<double>(policy_.timeout.count()) / 1000;
    s.state = !late_ ? "confirming" : policy_.late == SyncPolicy::Late::kDegrade ? "degraded" : "blocked";
    if (late_) s.late_seconds = seconds_between(late_since_, Clock::now());
    s.confirmed = confirmed_ ? confirmed_().bytes() : 0;
    s.waiting = parked_;
    s.requests = asked_;
    s.waves = waves_;
    s.unconfirmed = unconfirmed_;
    s.times_late = lates_;
    s.given_up = given_up_;
    return s;
}

}  // namespace tdfs

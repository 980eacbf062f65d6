#include "master/crew.hpp"

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <system_error>

#include <spdlog/spdlog.h>

#include "proto/result.hpp"

namespace tdfs {

namespace {
constexpr unsigned kQuietLooks = 50;  // before the watcher sleeps

// Ends a wait for a request; its handler does nothing.
constexpr int kWakeSignal = SIGUSR2;
void on_wake(int) {}
}  // namespace

thread_local Crew::Member* Crew::t_current = nullptr;

void about_to_wait() {
    if (Crew::Member* const m = Crew::t_current; m != nullptr) m->crew.wait(*m);
}

Crew::Crew(Limits limits, MakeHand make_hand, std::function<void()> ended, Looked looked)
    : limits_(limits), make_hand_(std::move(make_hand)), ended_(std::move(ended)), looked_(std::move(looked)) {}

Crew::~Crew() { stop(); }

void Crew::start() {
    struct sigaction action {};
    action.sa_handler = on_wake;  // no SA_RESTART: the wait is to end
    ::sigaction(kWakeSignal, &action, nullptr);
    {
        const std::lock_guard lock(mutex_);
        fill_up(limits_.hot);
        TDFS_INVARIANT(!members_.empty(), "a first thread can be started");
    }
    watcher_ = std::thread([this] { watch(); });
}

void Crew::stop() {
    if (!watcher_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        for (Member* const m : parked_) m->call.notify_one();
    }
    wake_.notify_one();
    watcher_.join();  // from here on there are no new members
    for (;;) {
        bool all_gone = true;
        for (const auto& m : members_) {
            const Stage s = stage(m->word);
            all_gone = all_gone && s == Stage::kGone;
            // A signal between its look at stopping_ and its wait is lost, so until it is gone it gets another.
            if (s == Stage::kTaking) ::pthread_kill(m->thread.native_handle(), kWakeSignal);
        }
        if (all_gone) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    for (const auto& m : members_) m->thread.join();
    members_.clear();
}

unsigned Crew::size() const {
    const std::lock_guard lock(mutex_);
    return static_cast<unsigned>(members_.size());
}

void Crew::run(Member& m) {
    t_current = &m;
    while (!stopping_) {
        const Hand::Taken taken = m.hand->take();
        if (taken == Hand::Taken::kEnd) {
            if (!end_seen_.exchange(true)) ended_();
            break;
        }
        if (taken == Hand::Taken::kInterrupted) continue;
        begin(m);
        m.hand->serve();
        finish(m);
    }
    m.hand->leave();
    m.word = with(m.word, Stage::kGone);
}

// This thread stores its stage and then looks at watching_; the watcher stores watching_ and then looks at the stages. All four are
// sequentially consistent, so one of the two sees the other.
void Crew::begin(Member& m) {
    m.word = with(m.word.load(std::memory_order_relaxed) + 8, Stage::kServing);
    if (watching_) return;
    {
        const std::lock_guard lock(mutex_);
        watching_ = true;
    }
    wake_.notify_one();
}

void Crew::finish(Member& m) {
    const std::uint64_t word = m.word.load(std::memory_order_relaxed);
    if (stage(m.word.exchange(with(word, Stage::kTaking))) == Stage::kWaiting) ++hot_;
    if (!m.hand->parks()) return;
    for (unsigned hot = hot_; hot > limits_.hot;) {
        if (hot_.compare_exchange_weak(hot, hot - 1)) return park(m);
    }
}

void Crew::park(Member& m) {
    m.hand->rest();
    std::unique_lock lock(mutex_);
    m.word = with(m.word, Stage::kParked);
    parked_.push_back(&m);
    m.call.wait(lock, [&] { return m.called || stopping_; });
    m.called = false;
    m.word = with(m.word, Stage::kTaking);
}

// False: it has been taken out already.
bool Crew::step_aside(Member& m, std::uint64_t word) {
    if (stage(word) != Stage::kServing || !m.word.compare_exchange_strong(word, with(word, Stage::kWaiting)))
        return false;
    --m.crew.hot_;
    return true;
}

void Crew::wait(Member& m) {
    if (!step_aside(m, m.word) || hot_ >= limits_.hot) return;
    const std::lock_guard lock(mutex_);
    fill_up(limits_.hot);
}

void Crew::watch() {
    std::unique_lock lock(mutex_);
    for (unsigned quiet = 0; !stopping_;) {
        quiet = look() ? 0 : quiet + 1;
        if (quiet <= kQuietLooks) {
            wake_.wait_for(lock, limits_.look);
            continue;
        }
        watching_ = false;
        if (!anyone_serves()) wake_.wait(lock, [&] { return watching_ || stopping_; });
        watching_ = true;
        quiet = 0;
    }
}

// Whether anything has moved since the last one.
bool Crew::look() {
    bool moved = false;
    std::uint64_t requests = 0;
    for (const auto& m : members_) {
        const std::uint64_t word = m->word;
        requests += number(word) - number(m->seen);
        if (word == m->seen) {
            moved = step_aside(*m, word) || moved;
        } else {
            m->seen = word;
            moved = true;
        }
    }
    const unsigned hot = hot_;
    if (looked_) looked_(requests);
    // Where all wait, there may be more that will: twice as many as the last time, so that a long queue of them is soon taken.
    growth_ = hot == 0 ? std::max(limits_.hot, 2 * growth_) : 0;
    if (hot < limits_.hot) fill_up(std::max(limits_.hot, growth_));
    return moved;
}

bool Crew::anyone_serves() const {
    return std::any_of(members_.begin(), members_.end(),
                       [](const auto& m) { return stage(m->word) == Stage::kServing; });
}

void Crew::fill_up(unsigned to) {
    while (!stopping_ && hot_ < to) {
        if (!call_one()) return;
    }
}

// False: there is nobody left to call, or no thread to be had now; the next look tries again.
bool Crew::call_one() {
    if (!parked_.empty()) {
        Member& m = *parked_.back();
        parked_.pop_back();
        ++hot_;
        m.called = true;
        m.call.notify_one();
        return true;
    }
    if (members_.size() >= limits_.most) {
        if (!at_limit_) spdlog::warn("{} requests wait at once; others wait for them now", limits_.most);
        at_limit_ = true;
        return false;
    }
    at_limit_ = false;
    auto m = std::make_unique<Member>(*this);
    m->hand = make_hand_();
    if (!m->hand) return false;
    ++hot_;
    try {
        m->thread = std::thread([this, &member = *m] { run(member); });
    } catch (const std::system_error& e) {
        --hot_;
        spdlog::warn("no further thread for requests: {}", e.what());
        return false;
    }
    members_.push_back(std::move(m));
    return true;
}

}  // namespace tdfs

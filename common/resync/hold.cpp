#include "common/resync/hold.hpp"

namespace tdfs {

TimedHold::TimedHold(WriterHold& writers, std::chrono::milliseconds limit) : writers_(writers), limit_(limit) {
    thread_ = std::thread([this] { run(); });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return held_; });
}

TimedHold::~TimedHold() { end(); }

void TimedHold::run() {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    const Lsn lsn = writers_.hold();
    {
        std::unique_lock lock(mutex_);
        lsn_ = lsn;
        held_ = true;
        changed_.notify_all();
        expired_ = !changed_.wait_until(lock, Clock::now() + limit_, [this] { return ending_; });
    }
    writers_.release();
    ms_ = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

bool TimedHold::end() {
    if (!thread_.joinable()) return false;
    bool in_time = false;
    {
        const std::lock_guard lock(mutex_);
        in_time = !expired_;
        ending_ = true;
        changed_.notify_all();
    }
    thread_.join();
    return in_time;
}

std::string ahead_of_history(const Journal& journal) {
    const auto why = journal.refused();
    if (why == Errno(0)) return {};
    return "the master cannot record changes any more (" + why.text() +
           "): it is to be restarted when its disk is in order";
}

}  // namespace tdfs

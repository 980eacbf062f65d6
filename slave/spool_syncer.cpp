#include "slave/spool_syncer.hpp"

#include <chrono>
#include <utility>

namespace tdfs {

SpoolSyncer::SpoolSyncer(Journal& spool, std::uint32_t every_ms, Events events)
    : spool_(spool), every_ms_(every_ms), events_(std::move(events)) {}

SpoolSyncer::~SpoolSyncer() { stop(); }

void SpoolSyncer::start() {
    TDFS_INVARIANT(!thread_.joinable(), "a spool syncer is started once at a time");
    stop_ = false;
    unsynced_ = true;  // what an earlier process left
    thread_ = std::thread([this] { run(); });
}

void SpoolSyncer::stop() {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void SpoolSyncer::received() {
    if (unsynced_.exchange(true)) return;
    { const std::lock_guard lock(mutex_); }  // not between its look and its sleep
    wake_.notify_all();
}

void SpoolSyncer::request_sync() {
    {
        const std::lock_guard lock(mutex_);
        asked_ = true;
    }
    wake_.notify_all();
}

void SpoolSyncer::run() {
    const std::chrono::milliseconds every(every_ms_);
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stop_ || asked_ || unsynced_.load(); });
        if (!stop_ && !asked_) wake_.wait_for(lock, every, [this] { return stop_ || asked_; });
        if (stop_) return;
        asked_ = false;
        lock.unlock();
        if (const auto done = sync_now(); !done) return events_.failed(done.error());
        lock.lock();
    }
}

Result<void, std::string> SpoolSyncer::sync_now() {
    unsynced_ = false;  // before the tail is read: what comes now is synced the next time
    const Lsn tail = spool_.tail();
    if (tail > spool_.durable()) {
        if (const auto done = spool_.sync(tail); !done) {
            return Unexpected("the spool cannot be made durable: " + done.error().text());
        }
        ++syncs_;
    }
    // A checkpoint or a segment's end may have been quicker: told is it here alone.
    if (spool_.durable() == told_) return {};
    told_ = spool_.durable();
    events_.durable();
    return {};
}

}  // namespace tdfs

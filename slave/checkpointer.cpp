#include "slave/checkpointer.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include <spdlog/spdlog.h>

#include "proto/errno.hpp"

namespace tdfs {

Checkpointer::Checkpointer(int root, Journal& spool, AppliedState& state, CheckpointOptions options, Events events)
    : root_(root), spool_(spool), state_(state), options_(options), events_(std::move(events)) {}

Checkpointer::~Checkpointer() { stop(); }

void Checkpointer::start() {
    TDFS_INVARIANT(!thread_.joinable(), "a checkpointer is started once at a time");
    stop_ = false;
    unsynced_ = true;  // what an earlier process left
    thread_ = std::thread([this] { run(); });
}

void Checkpointer::stop() {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void Checkpointer::received() {
    if (unsynced_.exchange(true)) return;
    { const std::lock_guard lock(mutex_); }  // not between its look and its sleep
    wake_.notify_all();
}

void Checkpointer::request_sync() {
    {
        const std::lock_guard lock(mutex_);
        sync_asked_ = true;
    }
    wake_.notify_all();
}

bool Checkpointer::checkpoint_is_due(Clock::time_point now, Clock::time_point last) const {
    const Lsn applied = state_.point().lsn;
    const Lsn kept = state_.durable_point().lsn;
    if (applied <= kept) return false;
    return now - last >= std::chrono::milliseconds(options_.checkpoint_every_ms) ||
           applied - kept >= options_.checkpoint_every_bytes;
}

void Checkpointer::run() {
    const auto sync_every = std::chrono::milliseconds(options_.sync_every_ms);
    auto last_sync = Clock::now();
    auto last_checkpoint = last_sync;
    std::unique_lock lock(mutex_);
    while (!stop_) {
        const auto now = Clock::now();
        const bool sync = sync_asked_ || (unsynced_ && now - last_sync >= sync_every);
        const bool checkpoint_due = checkpoint_is_due(now, last_checkpoint);
        if (sync || checkpoint_due) {
            sync_asked_ = false;
            lock.unlock();
            auto done = sync ? sync_spool() : Result<void, std::string>();
            if (done && checkpoint_due) done = checkpoint();
            if (!done) return events_.failed(done.error());
            if (sync) last_sync = now;
            if (checkpoint_due) last_checkpoint = now;
            lock.lock();
            continue;
        }
        // With all that came synced, applied and checkpointed, only received() ends the sleep: an idle replica does
        // nothing.
        const bool idle = !unsynced_ && spool_.tail() <= state_.durable_point().lsn;
        if (idle) {
            wake_.wait(lock, [this] { return stop_ || sync_asked_ || unsynced_.load(); });
        } else {
            wake_.wait_for(lock, sync_every, [this] { return stop_ || sync_asked_; });
        }
    }
}

Result<void, std::string> Checkpointer::sync_spool() {
    unsynced_ = false;  // before the tail is read: what comes now is synced the next time
    const Lsn tail = spool_.tail();
    if (tail <= spool_.durable()) return {};
    if (auto done = spool_.sync(tail); !done) {
        return Unexpected("the spool cannot be made durable: " + done.error().text());
    }
    events_.durable();
    return {};
}

Result<void, std::string> Checkpointer::checkpoint() {
    const AppliedPoint at = state_.point();
    if (::syncfs(root_) != 0) return Unexpected("the replica cannot be made durable: " + Errno::last().text());
    if (auto done = state_.checkpoint(at); !done) return done;
    const auto keep = std::min(options_.keep_spool_bytes, at.lsn.bytes());
    if (auto done = spool_.drop_before(Lsn(at.lsn.bytes() - keep)); !done) {
        spdlog::warn("spool: old segments cannot be dropped: {}", done.error().text());  // and is tried again
    }
    return {};
}

Result<void, std::string> Checkpointer::checkpoint_now() {
    if (auto done = sync_spool(); !done) return done;
    return checkpoint();
}

}  // namespace tdfs

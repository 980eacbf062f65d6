#include "slave/checkpointer.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "proto/errno.hpp"

namespace tdfs {

Checkpointer::Checkpointer(int root, Journal& spool, AppliedState& state, CheckpointOptions options,
                           std::function<void(const std::string&)> failed, std::function<bool()> upkeep)
    : root_(root),
      spool_(spool),
      state_(state),
      options_(options),
      failed_(std::move(failed)),
      upkeep_(std::move(upkeep)) {}

Checkpointer::~Checkpointer() { stop(); }

void Checkpointer::start() {
    TDFS_INVARIANT(!thread_.joinable(), "a checkpointer is started once at a time");
    stop_ = false;
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
    {
        const std::lock_guard lock(mutex_);
        if (!idle_) return;
    }
    wake_.notify_all();
}

void Checkpointer::hurry() {
    {
        const std::lock_guard lock(mutex_);
        hurry_ = true;
    }
    wake_.notify_all();
}

bool Checkpointer::is_due(Clock::time_point now, Clock::time_point last, bool hurry) const {
    const Lsn applied = state_.point().lsn;
    const Lsn kept = state_.durable_point().lsn;
    if (applied <= kept) return false;
    return hurry || now - last >= std::chrono::milliseconds(options_.checkpoint_every_ms) ||
           applied - kept >= options_.checkpoint_every_bytes;
}

void Checkpointer::run() {
    const std::chrono::milliseconds look_every(options_.sync_every_ms);
    auto last = Clock::now();
    std::unique_lock lock(mutex_);
    while (!stop_) {
        const auto now = Clock::now();
        if (is_due(now, last, std::exchange(hurry_, false))) {
            lock.unlock();
            if (const auto done = checkpoint_now(); !done) return failed_(done.error());
            last = now;
            lock.lock();
            continue;
        }
        // With all that came applied and checkpointed only received() ends the sleep: an idle replica does nothing.
        bool kept_up = true;
        if (upkeep_) {
            lock.unlock();
            kept_up = upkeep_();
            lock.lock();
        }
        idle_ = true;
        if (is_idle() && kept_up) wake_.wait(lock, [this] { return stop_ || !is_idle(); });
        idle_ = false;
        wake_.wait_for(lock, look_every, [this] { return stop_ || hurry_; });
    }
}

// The spool first: a checkpoint beyond the spool's end on the disk would leave a gap after a power loss.
Result<void, std::string> Checkpointer::checkpoint_now() {
    const AppliedPoint at = state_.point();
    if (const auto done = spool_.sync(at.lsn); !done) {
        return Unexpected("the spool cannot be made durable: " + done.error().text());
    }
    {
        const std::lock_guard lock(sync_mutex_);
        if (auto done = sync_replica(); !done) return done;
        if (auto done = state_.checkpoint(at); !done) return done;
    }
    const auto keep = std::min(options_.keep_spool_bytes, at.lsn.bytes());
    if (auto done = spool_.drop_before(Lsn(at.lsn.bytes() - keep)); !done) {
        spdlog::warn("spool: old segments cannot be dropped: {}", done.error().text());  // and is tried again
    }
    return {};
}

Result<void, std::string> Checkpointer::make_durable() {
    const std::lock_guard lock(sync_mutex_);
    return sync_replica();
}

Result<void, std::string> Checkpointer::sync_replica() {
    if (state_.distrusted()) return Unexpected<std::string>("the replica could not be made durable before");
    if (::syncfs(root_) == 0) return {};
    const Errno error = Errno::last();
    state_.distrust();
    return Unexpected("the replica cannot be made durable: " + error.text());
}

}  // namespace tdfs

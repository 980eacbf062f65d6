// What happens to segments off the hot path: housekeeping, retention, beginning anew, the end.
#include <algorithm>

#include "common/journal/journal.hpp"
#include "common/os/file.hpp"
#include "common/os/retry.hpp"

namespace tdfs {

namespace {

constexpr std::uint64_t kSpareRetryNs = 1'000'000'000;  // on a full disk

SysResult<void> unlink_segment(int dir, Lsn first) {
    if (::unlinkat(dir, segment_name(first).c_str(), 0) != 0 && errno != ENOENT) return fail_last();
    return {};
}

SysResult<void> sync_directory(int dir) {
    if (retry_interrupted([&] { return ::fsync(dir); }) != 0) return fail_last();
    return {};
}

}  // namespace

// In the keeper's thread.
void Journal::keep_house() {
    std::unique_lock lock(mutex_);
    const bool wants_spare = spare_wanted_;
    lock.unlock();

    if (wants_spare && !spare_.prepare()) {  // the roll over tries again, and so do we in a while
        lock.lock();
        spare_wanted_ = false;
        spare_retry_ns_ = last_time_ns_ + kSpareRetryNs;
        lock.unlock();
    }
    lock.lock();
    if (ended_.empty()) return;
    while (!ended_.empty()) {
        auto end = std::move(ended_.back());
        ended_.pop_back();
        trimming_ = true;
        lock.unlock();
        // Gives back what was allocated beyond the end. Where that fails, the next open does it.
        [[maybe_unused]] const int ignored = ::ftruncate(end.segment->fd(), static_cast<off_t>(end.bytes));
        end.segment.reset();
        lock.lock();
        trimming_ = false;
        synced_.notify_all();
    }
    // Bounds what a power loss can take and a new boot has to verify, when nobody else asks for a sync. What is dropped before that
    // has never been written to a disk.
    const Lsn unsynced = std::max(durable(), Lsn(oldest_.load()));
    if (!syncing_ && sync_error_ == Errno(0) && tail() - unsynced > options_.unsynced_bytes) {
        [[maybe_unused]] const auto kept = sync_once(lock);  // an error stays in sync_error_ for those who ask
    }
}

SysResult<void> Journal::drop_before(Lsn upto) {
    const std::lock_guard one_at_a_time(retention_mutex_);  // oldest first, so that a kill leaves no gap
    std::vector<std::shared_ptr<const Segment>> dropped;
    {
        const std::lock_guard lock(mutex_);
        const auto limit = std::min(upto, tail());
        while (segments_.size() > 1 && segments_[1]->first() <= limit) {
            dropped.push_back(std::move(segments_.front()));
            segments_.pop_front();
        }
        oldest_ = segments_.front()->first().bytes();
    }
    for (auto next = dropped.begin(); next != dropped.end(); ++next) {
        auto gone = unlink_segment(dir_.get(), (*next)->first());
        if (gone) continue;
        // What is still there is still the journal's: for the next call, or to begin anew.
        const std::lock_guard lock(mutex_);
        segments_.insert(segments_.begin(), next, dropped.end());
        oldest_ = segments_.front()->first().bytes();
        return gone;
    }
    // Their space comes back with the last descriptor, and whoever needed it tries again next: a sync and the keeper let go of them.
    std::unique_lock lock(mutex_);
    const auto is_dropped = [&](const Ended& end) {
        return std::find(dropped.begin(), dropped.end(), end.segment) != dropped.end();
    };
    std::erase_if(ended_, is_dropped);
    const auto is_held = [](const auto& segment) { return segment.use_count() > 1; };
    synced_.wait(lock,
                 [&] { return !(syncing_ || trimming_) || std::none_of(dropped.begin(), dropped.end(), is_held); });
    return {};
}

SysResult<void> Journal::reset(Lsn first) {
    const std::scoped_lock others_out(append_mutex_, retention_mutex_);
    std::unique_lock lock(mutex_);
    synced_.wait(lock, [&] { return !syncing_; });
    if (refused_ == Errno(ESHUTDOWN)) return fail(ESHUTDOWN);
    if (!order_.empty()) return fail(EBUSY);
    if (first.bytes() > kMaxSegmentFirst) return fail(EINVAL);
    auto done = begin_anew(first);
    if (!done) refused_ = done.error();
    grew_.notify_all();
    return done;
}

// Under mutex_. Killed on the way, the directory holds a newest part of the old journal, of which nothing is known; or none.
SysResult<void> Journal::begin_anew(Lsn first) {
    marks_.forget();
    if (auto done = marks_.flush(); !done) return done;
    for (const auto& segment : segments_) {
        if (auto done = unlink_segment(dir_.get(), segment->first()); !done) return done;
    }
    // Otherwise a power loss might leave the new segment beside old ones, and the younger would be taken for the journal.
    if (auto done = sync_directory(dir_.get()); !done) return done;
    auto segment = create_segment(dir_.get(), first);
    if (!segment) return fail(segment.error());
    segments_.clear();
    segments_.push_back(std::move(*segment));
    // ENOSPC is reserve()'s to tell.
    capacity_ = preallocate(segments_.back()->fd(), 0, options_.segment_bytes) ? options_.segment_bytes : 0;

    reserved_ = first;
    order_.skip_to(first);
    oldest_ = first.bytes();
    durable_ = first.bytes();
    ended_.clear();
    sync_error_ = Errno(0);
    torn_ = false;
    if (auto done = sync_directory(dir_.get()); !done) return done;
    directory_dirty_ = false;
    marks_.begin(first, first);
    if (auto done = marks_.flush(); !done) return done;
    refused_ = Errno(0);
    set_tail(first);
    return {};
}

SysResult<void> Journal::close() {
    const std::lock_guard appends_out(append_mutex_);
    {
        const std::lock_guard lock(mutex_);
        if (refused_ == Errno(ESHUTDOWN)) return {};
        if (refused_ != Errno(0)) return fail(refused_);
        if (!order_.empty()) return fail(EBUSY);
        refused_ = Errno(ESHUTDOWN);
    }
    keeper_.stop();
    if (auto done = sync(tail()); !done) return done;
    if (auto done = spare_.remove(); !done) return done;
    if (auto done = sync_directory(dir_.get()); !done) return done;
    marks_.begin(tail(), tail());
    marks_.set_clean(true);
    return marks_.flush();
}

}  // namespace tdfs

// What all parts of the journal share: the end of a life, waking those who wait, views for readers.
#include "common/journal/journal.hpp"

#include <algorithm>

namespace tdfs {

Journal::Journal(OwnFd dir, const JournalOptions& options)
    : dir_(std::move(dir)),
      options_(options),
      table_(dir_.get(), options.slots),
      spare_(dir_.get(), options.segment_bytes, options.keep_free_bytes) {}

Journal::~Journal() {
    keeper_.stop();
    TDFS_INVARIANT(order_.empty() || refused_ != Errno(0), "a journal is destroyed with a reservation open");
}

// Under mutex_. The tail is stored before the listeners are looked at: see JournalListener.
void Journal::set_tail(Lsn tail) {
    tail_ = tail.bytes();
    if (grew_waiters_ != 0) grew_.notify_all();
    for (auto* listener : listeners_) {
        if (listener->armed_ && listener->armed_.exchange(false)) listener->wake();
    }
}

bool Journal::wait_beyond(Lsn beyond, std::chrono::milliseconds timeout) {
    constexpr std::chrono::milliseconds kForEver = std::chrono::hours(24 * 365);  // more would overflow the clock
    const auto deadline = std::chrono::steady_clock::now() + std::min(timeout, kForEver);
    std::unique_lock lock(mutex_);
    ++grew_waiters_;
    grew_.wait_until(lock, deadline, [&] { return tail() > beyond || interrupted_; });
    --grew_waiters_;
    return tail() > beyond;
}

void Journal::interrupt() {
    table_.interrupt();
    const std::lock_guard lock(mutex_);
    interrupted_ = true;
    grew_.notify_all();
}

void Journal::add_listener(JournalListener& l) {
    const std::lock_guard lock(mutex_);
    listeners_.push_back(&l);
}

void Journal::remove_listener(JournalListener& l) {
    const std::lock_guard lock(mutex_);
    std::erase(listeners_, &l);
}

SysResult<SegmentView> Journal::view(Lsn at) {
    const std::lock_guard lock(mutex_);
    if (at < oldest()) return fail(ENOENT);
    if (at > tail()) return fail(ERANGE);
    // The last segment that begins at or before `at`.
    auto after = std::upper_bound(segments_.begin(), segments_.end(), at,
                                  [](Lsn lsn, const auto& segment) { return lsn < segment->first(); });
    const auto end = after == segments_.end() ? tail() : std::min(tail(), (*after)->first());
    const auto& segment = *--after;
    return SegmentView{segment, segment->fd(), segment->offset_of(at), end - at};
}

Errno Journal::refused() const {
    const std::lock_guard lock(mutex_);
    return refused_;
}

std::string Journal::where(Lsn at) const {
    const std::lock_guard lock(mutex_);
    auto after = std::upper_bound(segments_.begin(), segments_.end(), at,
                                  [](Lsn lsn, const auto& segment) { return lsn < segment->first(); });
    if (after == segments_.begin()) return "no segment";
    const auto& segment = *--after;
    return segment_name(segment->first()) + " at " + std::to_string(segment->offset_of(at));
}

Lsn Journal::reserved() const {
    const std::lock_guard lock(mutex_);
    return reserved_;
}

std::uint64_t Journal::disk_bytes() const {
    const std::lock_guard lock(mutex_);
    return (segments_.back()->first() - segments_.front()->first()) + capacity_ + spare_.disk_bytes();
}

}  // namespace tdfs

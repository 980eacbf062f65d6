// Group commit: one caller syncs for all who wait meanwhile.
#include <algorithm>

#include "common/journal/journal.hpp"
#include "common/os/retry.hpp"

namespace tdfs {

SysResult<void> Journal::sync(Lsn upto) {
    if (durable() >= upto) return {};
    std::unique_lock lock(mutex_);
    if (tail() < upto) {
        ++grew_waiters_;
        grew_.wait(lock, [&] { return tail() >= upto || interrupted_ || refused_ != Errno(0); });
        --grew_waiters_;
        if (tail() < upto) return fail(refused_ != Errno(0) ? refused_ : Errno(ECANCELED));
    }
    for (;;) {
        if (durable() >= upto) return {};
        if (sync_error_ != Errno(0)) return fail(sync_error_);
        if (syncing_) {
            synced_.wait(lock);
        } else if (auto synced = sync_once(lock); !synced) {
            return synced;
        }
    }
}

// Makes durable what is committed now. Leaves the lock meanwhile; nobody else is syncing.
SysResult<void> Journal::sync_once(std::unique_lock<std::mutex>& lock) {
    syncing_ = true;
    const auto target = tail();
    auto segments = segments_between(durable(), target);
    const bool names = std::exchange(directory_dirty_, false);
    lock.unlock();

    Errno error(0);
    for (const auto& segment : segments) {
        if (retry_interrupted([&] { return ::fdatasync(segment->fd()); }) != 0) error = Errno::last();
    }
    if (names && retry_interrupted([&] { return ::fsync(dir_.get()); }) != 0) error = Errno::last();
    segments.clear();  // drop_before() waits for that

    lock.lock();
    syncing_ = false;
    synced_.notify_all();
    if (error != Errno(0)) {
        // The kernel reports an error once and then takes the pages for clean: a second try would lie.
        sync_error_ = error;
        return fail(error);
    }
    durable_ = target.bytes();
    marks_.note_durable(target);
    return {};
}

std::vector<std::shared_ptr<const Segment>> Journal::segments_between(Lsn from, Lsn to) const {
    std::vector<std::shared_ptr<const Segment>> found;
    for (std::size_t i = 0; i < segments_.size(); ++i) {
        if (end_of(i) > from && segments_[i]->first() < to) found.push_back(segments_[i]);
    }
    return found;
}

Lsn Journal::end_of(std::size_t segment) const {
    return segment + 1 < segments_.size() ? segments_[segment + 1]->first() : reserved_;
}

}  // namespace tdfs

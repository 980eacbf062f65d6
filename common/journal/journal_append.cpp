// How a slave's spool grows: frames as they came over the wire, byte for byte.
#include <algorithm>

#include "common/journal/journal.hpp"
#include "common/os/file.hpp"

namespace tdfs {

namespace {

// Whether `frames` are whole frames, the first at `at`, each where the one before ends.
bool contiguous(ByteView frames, Lsn at) {
    while (!frames.empty()) {
        const auto header = decode_header(frames);
        if (!header || header->lsn != at || header->kind >= FrameKind::kFirstSession) return false;
        if (header->frame_bytes() > frames.size()) return false;
        at = at + header->frame_bytes();
        frames = frames.subspan(header->frame_bytes());
    }
    return true;
}

// The longest run of whole frames at the front that takes at most `limit` bytes.
std::size_t run_within(ByteView frames, std::uint64_t limit) {
    if (frames.size() <= limit) return frames.size();
    std::size_t bytes = 0;
    for (;;) {
        const auto next = bytes + decode_header(frames.subspan(bytes))->frame_bytes();
        if (next > limit) return bytes;
        bytes = next;
    }
}

}  // namespace

SysResult<void> Journal::append(ByteView frames) {
    const std::lock_guard one_at_a_time(append_mutex_);
    if (!contiguous(frames, tail())) return fail(EINVAL);
    while (!frames.empty()) {
        std::shared_ptr<const Segment> segment;
        std::uint64_t offset = 0;
        std::size_t run = 0;
        {
            const std::lock_guard lock(mutex_);
            if (refused_ != Errno(0)) return fail(refused_);
            if (torn_) {
                if (auto cleared = clear_beyond_tail(); !cleared) return cleared;
            }
            TDFS_INVARIANT(order_.empty(), "append() to a journal in which a reservation is open");
            last_time_ns_ = std::max(last_time_ns_, wall_clock_ns());
            if (auto room = make_room(decode_header(frames)->frame_bytes(), Room::kGivesBack); !room) return room;
            segment = segments_.back();
            offset = used_bytes();
            run = run_within(frames, capacity_ - offset);
        }
        const auto written = write_all(segment->fd(), frames.first(run), offset);
        const std::lock_guard lock(mutex_);
        if (!written) {
            torn_ = true;
            [[maybe_unused]] const auto tried_again = clear_beyond_tail();  // by the next append(), where it fails
            return written;
        }
        reserved_ = reserved_ + run;
        order_.skip_to(reserved_);
        set_tail(reserved_);
        marks_.note_committed(reserved_);
        frames = frames.subspan(run);
    }
    return {};
}

SysResult<void> Journal::hold_room(std::uint64_t bytes, std::uint64_t keep_free) {
    const std::lock_guard lock(mutex_);
    if (refused_ != Errno(0)) return fail(refused_);
    if (used_bytes() + bytes <= capacity_) return {};
    if (capacity_ < options_.segment_bytes) {
        if (auto grown = grow_segment(keep_free); !grown) return grown;
        if (used_bytes() + bytes <= capacity_) return {};
    }
    return spare_.prepare(keep_free);
}

// Under mutex_. After a write that failed half way: what it left must not be taken for frames one day, when other frames have
// been appended before it.
SysResult<void> Journal::clear_beyond_tail() {
    const auto fd = segments_.back()->fd();
    const auto used = used_bytes();
    if (::ftruncate(fd, static_cast<off_t>(used)) != 0) return fail_last();
    torn_ = false;
    // ENOSPC: make_room() tries again.
    capacity_ = preallocate(fd, used, capacity_) ? capacity_ : used;
    return {};
}

}  // namespace tdfs

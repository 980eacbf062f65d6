// How a record comes into the journal, in the order in which it happens:
//
//   reserve   slot taken, intent copied                 parallel
//             place fixed, slot armed                   under mutex_
//   (the caller carries its operation out)
//   commit    header and payload to the file            parallel
//             visible tail moved, readers woken         under mutex_
//             mark noted, slot released                 parallel
//
// A process killed before the slot is armed leaves no trace; from then on until the frame is whole in the file, the slot
// names the place; from then on the frame verifies, and the slot says nothing new.
#include <sys/uio.h>

#include <algorithm>
#include <array>

#include "common/journal/journal.hpp"
#include "common/os/file.hpp"
#include "common/os/retry.hpp"

namespace tdfs {

namespace {

// The pieces after the first `done` bytes, one by one.
SysResult<void> write_rest(int fd, std::span<const ByteView> pieces, std::uint64_t offset, std::size_t done) {
    for (const auto piece : pieces) {
        const auto skipped = std::min(done, piece.size());
        if (auto written = write_all(fd, piece.subspan(skipped), offset + skipped); !written) return written;
        done -= skipped;
        offset += piece.size();
    }
    return {};
}

// In one system call, unless there are very many pieces or the system takes less than all.
SysResult<void> write_frame(int fd, const HeaderBytes& header, std::span<const ByteView> payload,
                            std::uint64_t offset) {
    constexpr std::size_t kMaxParts = 16;
    std::array<iovec, kMaxParts> parts;  // NOLINT(*-member-init): filled as far as it is used
    std::array<ByteView, kMaxParts> pieces;
    std::size_t count = 0;
    std::size_t bytes = 0;
    const auto add = [&](ByteView piece) {
        pieces[count] = piece;
        parts[count++] = {const_cast<std::byte*>(piece.data()), piece.size()};  // NOLINT(*-const-cast): only read
        bytes += piece.size();
    };
    add(header);
    const auto together = std::min(payload.size(), kMaxParts - 1);
    for (const auto piece : payload.first(together)) add(piece);

    const auto n = retry_interrupted(
        [&] { return ::pwritev(fd, parts.data(), static_cast<int>(count), static_cast<off_t>(offset)); });
    if (n < 0) return fail_last();
    const auto written = static_cast<std::size_t>(n);
    if (written < bytes) {
        if (auto rest = write_rest(fd, std::span(pieces).first(count), offset, written); !rest) return rest;
    }
    return write_rest(fd, payload.subspan(together), offset + bytes, 0);
}

}  // namespace

SysResult<Reservation> Journal::reserve(std::size_t payload_bytes, ByteView intent, Room room) {
    if (payload_bytes > kMaxPayloadBytes || intent.size() > kMaxIntentBytes) return fail(EMSGSIZE);
    const auto slot = table_.take(intent);
    if (!slot) return fail(slot.error());
    auto r = [&] {
        const std::lock_guard lock(mutex_);
        return place(*slot, static_cast<std::uint32_t>(kFrameHeaderBytes + payload_bytes), room);
    }();
    if (!r) table_.release(*slot);
    return r;
}

SysResult<Reservation> Journal::place(std::uint32_t slot, std::uint32_t frame_bytes, Room room) {
    if (refused_ != Errno(0)) return fail(refused_);
    if (auto made = make_room(frame_bytes, room); !made) return fail(made.error());
    last_time_ns_ = std::max(last_time_ns_, wall_clock_ns());

    Reservation r;
    r.lsn_ = reserved_;
    r.frame_bytes_ = frame_bytes;
    r.slot_ = slot;
    r.ticket_ = order_.add(r.end());
    r.time_ns_ = last_time_ns_;
    r.segment_ = segments_.back();
    table_.arm(slot, r.lsn_, frame_bytes, r.time_ns_);
    reserved_ = r.end();
    return r;
}

SysResult<void> Journal::make_room(std::size_t frame_bytes, Room room) {
    if (frame_bytes > options_.segment_bytes) return fail(EMSGSIZE);
    if (used_bytes() + frame_bytes > capacity_) {
        if (used_bytes() + frame_bytes > options_.segment_bytes) {
            if (auto rolled = roll_over(); !rolled) return rolled;
        } else if (auto grown = grow_segment(options_.keep_free_bytes); !grown) {
            return grown;
        }
    }
    const bool in_kept_part = used_bytes() + frame_bytes + options_.segment_bytes / 64 > capacity_;
    if (room == Room::kOrdinary && in_kept_part && spare_.disk_bytes() == 0) {
        if (auto ready = spare_.prepare(); !ready) return ready;
    }
    if (used_bytes() + frame_bytes > capacity_ / 2) want_spare();
    return {};
}

SysResult<void> Journal::grow_segment(std::uint64_t keep_free) {
    const auto missing = options_.segment_bytes - capacity_;
    if (auto fits = leaves_free(dir_.get(), missing, keep_free); !fits) return fits;
    if (auto grown = preallocate(segments_.back()->fd(), capacity_, options_.segment_bytes); !grown) return grown;
    capacity_ = options_.segment_bytes;
    return {};
}

SysResult<void> Journal::roll_over() {
    auto fd = spare_.take_as(reserved_);
    if (!fd) return fail(fd.error());
    // From here on the new file's name says where the old segment ends. Its file is cut off the hot path; what is
    // reserved in it lies before that end.
    ended_.push_back({segments_.back(), used_bytes()});
    segments_.push_back(std::make_shared<const Segment>(reserved_, std::move(*fd)));
    capacity_ = options_.segment_bytes;
    directory_dirty_ = true;
    spare_wanted_ = false;
    keeper_.kick();
    return {};
}

void Journal::want_spare() {
    if (spare_wanted_ || last_time_ns_ < spare_retry_ns_) return;
    spare_wanted_ = true;
    keeper_.kick();
}

SysResult<void> Journal::commit(Reservation&& r, std::uint8_t flags, std::uint32_t raw_bytes,
                                std::span<const ByteView> payload) {
    TDFS_INVARIANT(r, "commit of no reservation");
    std::size_t payload_bytes = 0;
    for (const auto piece : payload) payload_bytes += piece.size();
    TDFS_INVARIANT(kFrameHeaderBytes + payload_bytes <= r.frame_bytes_, "a payload is longer than was reserved for it");

    FrameHeader h;
    h.kind = FrameKind::kRecord;
    h.flags = flags;
    h.payload_bytes = static_cast<std::uint32_t>(payload_bytes);
    h.pad_bytes = static_cast<std::uint32_t>(r.frame_bytes_ - kFrameHeaderBytes - payload_bytes);  // zeros stand there
    h.raw_bytes = raw_bytes;
    h.lsn = r.lsn_;
    h.time_ns = r.time_ns_;
    const auto written =
        write_frame(r.segment_->fd(), encode_header(h, payload), payload, r.segment_->offset_of(r.lsn_));
    if (!written) {
        leave(std::move(r), written.error());
        return written;
    }
    publish(std::move(r));
    return {};
}

SysResult<void> Journal::abandon(Reservation&& r) {
    TDFS_INVARIANT(r, "abandon of no reservation");
    FrameHeader h;
    h.kind = FrameKind::kVoid;
    h.pad_bytes = static_cast<std::uint32_t>(r.frame_bytes_ - kFrameHeaderBytes);
    h.lsn = r.lsn_;
    h.time_ns = r.time_ns_;
    const auto written = write_all(r.segment_->fd(), encode_header(h, {}), r.segment_->offset_of(r.lsn_));
    if (!written) {
        leave(std::move(r), written.error());
        return written;
    }
    publish(std::move(r));
    return {};
}

void Journal::leave(Reservation&& r, Errno why) {
    TDFS_INVARIANT(r, "leave of no reservation");
    refuse_writes(why);
    r.frame_bytes_ = 0;  // its slot stays: the next open resolves it
}

void Journal::publish(Reservation&& r) {
    bool moved = false;
    Lsn visible;
    {
        const std::lock_guard lock(mutex_);
        moved = order_.done(r.ticket_);
        visible = order_.visible();
        if (moved) set_tail(visible);
    }
    if (moved) marks_.note_committed(visible);
    table_.release(r.slot_);
    r.segment_.reset();
    r.frame_bytes_ = 0;
}

void Journal::refuse_writes(Errno why) {
    const std::lock_guard lock(mutex_);
    if (refused_ == Errno(0)) refused_ = why;
    grew_.notify_all();  // whoever waits in sync() for what will not come
}

}  // namespace tdfs

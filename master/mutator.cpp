#include "master/mutator.hpp"

#include <linux/falloc.h>

#include <algorithm>
#include <array>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "proto/lzf.hpp"

namespace tdfs {

namespace {

// Operations that (may) give space back, and fsync, must work on a full disk for longer than others.
Room room_for(const Record& r) {
    if (const auto* a = std::get_if<AttributesRecord>(&r)) {
        // A settled time lets go of the history since the change.
        const auto gives_back = AttributesRecord::kSize | AttributesRecord::kSettled;
        return (a->valid & gives_back) != 0 ? Room::kGivesBack : Room::kOrdinary;
    }
    if (const auto* f = std::get_if<FallocateRecord>(&r)) {
        return (f->mode & FALLOC_FL_PUNCH_HOLE) != 0 ? Room::kGivesBack : Room::kOrdinary;
    }
    const bool gives_back = std::holds_alternative<UnlinkRecord>(r) || std::holds_alternative<RmdirRecord>(r) ||
                            std::holds_alternative<SyncRecord>(r);
    return gives_back ? Room::kGivesBack : Room::kOrdinary;
}

}  // namespace

Pending::Pending(Pending&& other) noexcept
    : mutator_(std::exchange(other.mutator_, nullptr)),
      reservation_(std::move(other.reservation_)),
      payload_(std::move(other.payload_)) {}

Pending::~Pending() {
    if (mutator_ != nullptr) mutator_->abandon(std::move(reservation_));
}

void Pending::commit(const Record& r) {
    Mutator* const mutator = std::exchange(mutator_, nullptr);
    payload_.clear();
    encode_record(r, payload_);
    const std::array<ByteView, 1> pieces{payload_};
    // Done is done, also where it could not be recorded.
    static_cast<void>(mutator->commit(std::move(reservation_), 0, payload_.size(), pieces));
}

Errno Pending::leave(Errno why) {
    std::exchange(mutator_, nullptr)->leave(std::move(reservation_), why);
    return why;
}

void Mutator::broke(Lsn lsn, Errno e) {
    if (!broken_.exchange(true)) {
        spdlog::critical(
            "journal lsn={} error=\"{}\": a change could not be recorded; the mount is read-only now. "
            "Restart the master when the disk is in order: it resolves what was in flight.",
            lsn.bytes(), e.text());
    }
}

SysResult<void> Mutator::commit(Reservation&& reservation, std::uint8_t flags, std::size_t raw,
                                std::span<const ByteView> payload) {
    const Lsn lsn = reservation.lsn();
    const auto done = journal_.commit(std::move(reservation), flags, static_cast<std::uint32_t>(raw), payload);
    if (!done) broke(lsn, done.error());
    return done;
}

void Mutator::abandon(Reservation&& reservation) {
    const Lsn lsn = reservation.lsn();
    const auto done = journal_.abandon(std::move(reservation));
    if (!done) broke(lsn, done.error());
}

void Mutator::leave(Reservation&& reservation, Errno why) {
    const Lsn lsn = reservation.lsn();
    journal_.leave(std::move(reservation), why);
    broke(lsn, why);
}

SysResult<Reservation> Mutator::reserve(std::size_t payload_bytes, ByteView intent, Room room) {
    for (;;) {
        auto reservation = journal_.reserve(payload_bytes, intent, room);
        const bool no_space = !reservation && reservation.error() == Errno(ENOSPC);
        if (no_space && make_space_ && make_space_()) continue;
        // Small ones may go through for a while when larger ones do not.
        if (no_space != full_.load(std::memory_order_relaxed) && room == Room::kOrdinary) full_ = no_space;
        return reservation;
    }
}

SysResult<Pending> Mutator::begin(const Record& r, std::uint64_t ino, std::uint64_t other_ino) {
    if (broken()) return fail(EROFS);
    Bytes payload;
    encode_record(r, payload);
    static thread_local Bytes intent;
    intent.clear();
    encode_intent({ino, other_ino, 0, r}, payload, intent);
    auto reservation = reserve(payload.size(), intent, room_for(r));
    if (!reservation) return fail(reservation.error());
    return Pending(*this, std::move(*reservation), std::move(payload));
}

SysResult<Lsn> Mutator::note(const Record& r) { return note(r, {}); }

SysResult<Lsn> Mutator::note(const Record& r, ByteView intent) {
    if (broken()) return fail(EROFS);
    Bytes payload;
    encode_record(r, payload);
    auto reservation = reserve(payload.size(), intent, room_for(r));
    if (!reservation) return fail(reservation.error());
    const Lsn lsn = reservation->lsn();
    const std::array<ByteView, 1> pieces{payload};
    if (const auto done = commit(std::move(*reservation), 0, payload.size(), pieces); !done) return fail(done.error());
    return lsn;
}

// Less was written than the place was reserved for: the record says so, and where it does not fit (it was to be compressed
// better than its part can be) it comes as a second record, which nothing can have overtaken: the object is locked.
void Mutator::commit_part(Reservation&& reservation, const WriteRecord& r, std::size_t written) {
    WriteRecord part = r;
    part.data = r.data.first(written);
    Bytes payload;
    encode_record(part, payload);
    Bytes packed;
    const bool fits = payload.size() <= reservation.frame_bytes() - kFrameHeaderBytes;
    const bool packed_fits =
        !fits && lzf_compress(payload, packed) && packed.size() <= reservation.frame_bytes() - kFrameHeaderBytes;
    if (fits || packed_fits) {
        const std::array<ByteView, 1> pieces{packed_fits ? ByteView(packed) : ByteView(payload)};
        static_cast<void>(
            commit(std::move(reservation), packed_fits ? kFlagLzf : std::uint8_t{0}, payload.size(), pieces));
        return;
    }
    Bytes head, intent;
    encode_write_head(part, head);
    encode_intent({r.object.ino, 0, static_cast<std::uint32_t>(written), {}}, head, intent);
    // The first place is given up last: killed in between, a restart finds what was written by it.
    if (const auto noted = note(part, intent); !noted) broke(reservation.lsn(), noted.error());
    abandon(std::move(reservation));
}

// The data is encoded (and compressed) before its place is reserved; only the copy into the journal's pages follows the
// effect. A write that the disk takes in part is recorded in part, in the same place.
SysResult<std::size_t> Mutator::write(int fd, const WriteRecord& r, const std::function<void(Lsn)>& before_commit) {
    if (broken()) return fail(EROFS);
    static thread_local Bytes head, intent, whole, packed;
    head.clear();
    encode_write_head(r, head);
    intent.clear();
    encode_intent({r.object.ino, 0, static_cast<std::uint32_t>(r.data.size()), {}}, head, intent);

    bool compressed = false;
    const std::size_t raw = head.size() + r.data.size();
    if (compress_) {
        whole.assign(head.begin(), head.end());
        whole.insert(whole.end(), r.data.begin(), r.data.end());
        compressed = lzf_compress(whole, packed);
    }
    // A write of nothing always fits: a disk that is full has no room for it elsewhere.
    auto reservation = reserve(compressed ? std::max(packed.size(), head.size()) : raw, intent, Room::kOrdinary);
    if (!reservation) return fail(reservation.error());

    const auto written = write_most(fd, r.data, r.offset);
    before_commit(reservation->lsn());
    if (!written) {
        commit_part(std::move(*reservation), r, 0);  // see effects::write_of_nothing()
        return written;
    }
    if (*written == r.data.size()) {
        const std::array<ByteView, 2> pieces{compressed ? ByteView(packed) : ByteView(head),
                                             compressed ? ByteView() : r.data};
        static_cast<void>(commit(std::move(*reservation), compressed ? kFlagLzf : std::uint8_t{0}, raw, pieces));
        return written;
    }
    commit_part(std::move(*reservation), r, *written);
    return written;
}

}  // namespace tdfs

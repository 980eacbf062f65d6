// Opening a journal, whatever the last process left of it:
//
//   look      marks, slots in flight, segment files        changes nothing but the spare, which goes
//   walk      from what is known to stand to the tail      reads, and asks the resolver
//   mend      cut what is torn, fill what was in flight    a kill here, and the next open does it again
//   begin     slots cleared, marks set
//
// See DESIGN.md for the rules and why they hold.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "common/journal/journal.hpp"
#include "common/journal/segment_files.hpp"
#include "common/journal/tail_walk.hpp"
#include "common/os/file.hpp"

namespace tdfs {

namespace {

constexpr std::uint32_t kMaxSlots = 4096;

using Done = Result<void, JournalError>;

Unexpected<JournalError> refuse(std::string text) { return Unexpected(JournalError{std::move(text)}); }

Unexpected<JournalError> refuse(const std::string& what, Errno why) {
    const auto* advice = why.value() == ENOSPC ? "; free some disk space" : "";
    return refuse("journal: " + what + ": " + why.text() + advice);
}

SysResult<Bytes> make_void(const InFlight& /*unresolved*/) { return Bytes(); }

}  // namespace

// One opening. Lives as long as the call; the journal is nobody else's yet.
class JournalOpening {
  public:
    JournalOpening(Lsn first, bool same_boot, const Resolver& resolve)
        : first_(first), same_boot_(same_boot), resolve_(resolve ? resolve : make_void) {}

    Result<std::unique_ptr<Journal>, JournalError> run(int dir, const JournalOptions& options) {
        if (auto done = create(dir, options); !done) return Unexpected(done.error());
        if (auto done = look(); !done) return Unexpected(done.error());
        if (auto done = files_.empty() ? start() : recover(); !done) return Unexpected(done.error());
        if (auto done = begin(); !done) return Unexpected(done.error());
        return std::move(journal_);
    }

  private:
    Done create(int dir, const JournalOptions& options);
    Done look();
    Done start();
    Done recover();
    Done begin();
    [[nodiscard]] Lsn segment_of(Lsn at) const;
    [[nodiscard]] Lsn walk_from() const;
    Done cut(Lsn tail);
    void adopt(Lsn tail);
    Done fill(const std::vector<ResolvedPlace>& places);
    Done append_frame(ByteView payload);
    Done write_frame(const Segment& segment, FrameHeader h, ByteView payload);
    SysResult<void> write_again(Lsn from, Lsn to);

    const Lsn first_;
    const bool same_boot_;
    const Resolver resolve_;
    std::unique_ptr<Journal> journal_;
    std::vector<InFlight> slots_;
    std::vector<SegmentFile> files_;
    std::optional<Lsn> known_;  // that much must be there: committed on the same boot, durable on a new one
    Lsn durable_;               // that much is known to be on the disk
};

Result<std::unique_ptr<Journal>, JournalError> Journal::open(int dir, const JournalOptions& options, Lsn first,
                                                             bool same_boot, const Resolver& resolve) {
    return JournalOpening(first, same_boot, resolve).run(dir, options);
}

Done JournalOpening::create(int dir, const JournalOptions& options) {
    if (options.segment_bytes <= kFrameHeaderBytes || options.slots == 0 || options.slots > kMaxSlots) {
        return refuse("journal: segment_bytes or slots out of range");
    }
    if (first_.bytes() > kMaxSegmentFirst) return refuse("journal: the first lsn is out of range");
    if (::mkdirat(dir, "journal", 0700) != 0 && errno != EEXIST) {
        return refuse("its directory cannot be made", Errno::last());
    }
    auto fd = open_at(dir, "journal", O_RDONLY | O_DIRECTORY);
    if (!fd) return refuse("its directory cannot be opened", fd.error());
    journal_.reset(new Journal(std::move(*fd), options));
    return {};
}

Done JournalOpening::look() {
    auto& report = journal_->report_;
    auto marks = Marks::open(journal_->dir_.get());
    if (!marks) return refuse("its marks cannot be opened", marks.error());
    journal_->marks_ = std::move(*marks);
    const auto& found = journal_->marks_.found();
    report.clean_stop = found.clean;
    if (found.unreadable) report.notes.emplace_back("journal: its marks were unreadable and have been made anew");
    known_ = same_boot_ ? found.committed : found.durable;

    if (auto removed = journal_->spare_.remove(); !removed)
        return refuse("its spare cannot be removed", removed.error());
    if (same_boot_) {
        auto slots = journal_->table_.leftovers(report.lost_reservations);
        if (!slots) return refuse("its table of reservations cannot be read", slots.error());
        slots_ = std::move(*slots);
        if (report.lost_reservations != 0) {
            report.notes.push_back("journal/inflight: " + std::to_string(report.lost_reservations) +
                                   " reservations in flight are damaged");
        }
    }
    auto files = find_segments(journal_->dir_.get(), report.notes);
    if (!files) return refuse(files.error());
    files_ = std::move(*files);
    std::optional<Lsn> power_loss_durable;
    if (!same_boot_) power_loss_durable = found.durable;
    if (auto done = close_gaps(journal_->dir_.get(), files_, power_loss_durable, report.notes); !done) {
        return refuse("a segment cannot be removed", done.error());
    }
    return {};
}

// There is no segment.
Done JournalOpening::start() {
    auto segment = create_segment(journal_->dir_.get(), first_);
    if (!segment) return refuse("its first segment cannot be made", segment.error());
    files_.push_back({std::move(*segment), 0});
    if (!slots_.empty()) journal_->report_.notes.emplace_back("journal: reservations in flight, but no segment");
    journal_->report_.created = true;
    journal_->report_.lost_committed = known_ && *known_ > first_;
    durable_ = first_;
    if (auto done = cut(first_); !done) return done;  // allocates it
    adopt(first_);
    return {};
}

Done JournalOpening::recover() {
    auto& report = journal_->report_;
    const auto from = walk_from();
    const auto walk = walk_to_tail(files_, from, slots_, resolve_);
    if (!walk) return refuse(walk.error());
    report.lost_committed = known_ && walk->tail < *known_;
    if (report.lost_committed) {
        report.notes.push_back("journal: " + segment_name(segment_of(walk->tail)) + " is damaged or cut off at lsn " +
                               std::to_string(walk->tail.bytes()) + ", it had come to " +
                               std::to_string(known_->bytes()));
    }
    report.resolved = static_cast<std::uint32_t>(walk->places.size());
    journal_->last_time_ns_ = walk->last_time_ns;

    if (auto done = cut(walk->tail); !done) return done;
    adopt(walk->tail);
    if (auto done = fill(walk->places); !done) return done;

    const auto marked = journal_->marks_.found().durable.value_or(files_.front().first());
    durable_ = std::clamp(marked, files_.front().first(), walk->tail);
    return {};
}

// Of the segments that are there, the one that `at` lies in or behind.
Lsn JournalOpening::segment_of(Lsn at) const {
    auto begin = files_.front().first();
    for (const auto& file : files_) begin = file.first() <= at ? file.first() : begin;
    return begin;
}

// Where the walk begins: before it, everything is known to stand.
Lsn JournalOpening::walk_from() const {
    const auto last = files_.back().first();
    if (!known_) {  // a lost table: older segments are trusted until read, but no reservation is forgotten
        return slots_.empty() ? last : std::min(last, segment_of(slots_.front().lsn));
    }
    if (*known_ > files_.back().end()) return last;  // lost
    if (same_boot_) return std::max(*known_, files_.front().first());
    return std::min(last, segment_of(*known_));  // the last segment in any case: it costs little after a power loss
}

// What stands beyond the tail goes, so that the last segment is zero there, and its space is held.
Done JournalOpening::cut(Lsn tail) {
    auto& report = journal_->report_;
    while (files_.size() > 1 && files_.back().first() > tail) {  // youngest first: a kill leaves no gap
        const auto& file = files_.back();
        const auto end = end_of_content(file.segment->fd(), 0, file.bytes);
        if (!end) return refuse("a segment cannot be read", end.error());
        report.cut_bytes += *end;
        const auto name = segment_name(file.first());
        if (::unlinkat(journal_->dir_.get(), name.c_str(), 0) != 0) {
            return refuse("segment " + name + " cannot be removed", Errno::last());
        }
        files_.pop_back();
    }
    auto& last = files_.back();
    const auto fd = last.segment->fd();
    const auto used = last.segment->offset_of(tail);
    const auto end = end_of_content(fd, used, last.bytes);
    if (!end) return refuse("the last segment cannot be read", end.error());
    if (*end > used) {
        report.cut_bytes += *end - used;
        if (::ftruncate(fd, static_cast<off_t>(used)) != 0) return refuse("its torn tail cannot be cut", Errno::last());
        last.bytes = used;
    }
    const auto wanted = std::max(last.bytes, journal_->options_.segment_bytes);
    last.bytes = preallocate(fd, used, wanted) ? wanted : used;  // on a full disk reserve() tries again, and tells
    return {};
}

void JournalOpening::adopt(Lsn tail) {
    for (std::size_t i = 0; i < files_.size(); ++i) {
        journal_->segments_.push_back(files_[i].segment);
        if (i + 1 == files_.size()) break;
        const auto used = files_[i].segment->offset_of(files_[i + 1].first());
        if (files_[i].bytes > used) journal_->ended_.push_back({files_[i].segment, used});
    }
    journal_->capacity_ = files_.back().bytes;
    journal_->reserved_ = tail;
    journal_->oldest_ = files_.front().first().bytes();
}

// What does not fit its place goes to the tail, and it goes there first: killed in between, the place is still open and is
// resolved again, and the payload (the present state of something) stands twice rather than nowhere.
Done JournalOpening::fill(const std::vector<ResolvedPlace>& places) {
    const auto fits = [](const ResolvedPlace& p) { return kFrameHeaderBytes + p.payload.size() <= p.frame_bytes; };
    for (const auto& place : places) {
        if (fits(place)) continue;
        if (auto done = append_frame(place.payload); !done) return done;
    }
    for (const auto& place : places) {
        const ByteView payload = fits(place) ? ByteView(place.payload) : ByteView();
        FrameHeader h;
        h.kind = payload.empty() ? FrameKind::kVoid : FrameKind::kRecord;
        h.payload_bytes = static_cast<std::uint32_t>(payload.size());
        h.pad_bytes = static_cast<std::uint32_t>(place.frame_bytes - kFrameHeaderBytes - payload.size());
        h.lsn = place.lsn;
        h.time_ns = place.time_ns;
        if (auto done = write_frame(*place.segment, h, payload); !done) return done;
    }
    return {};
}

Done JournalOpening::append_frame(ByteView payload) {
    TDFS_INVARIANT(payload.size() <= kMaxPayloadBytes, "a resolver's payload is longer than a frame may be");
    const auto bytes = kFrameHeaderBytes + payload.size();
    if (auto room = journal_->make_room(bytes, Room::kGivesBack); !room)
        return refuse("a resolved reservation finds no room", room.error());
    journal_->last_time_ns_ = std::max(journal_->last_time_ns_, wall_clock_ns());
    FrameHeader h;
    h.kind = FrameKind::kRecord;
    h.payload_bytes = static_cast<std::uint32_t>(payload.size());
    h.lsn = journal_->reserved_;
    h.time_ns = journal_->last_time_ns_;
    if (auto done = write_frame(*journal_->segments_.back(), h, payload); !done) return done;
    journal_->reserved_ = journal_->reserved_ + bytes;
    return {};
}

// The padding too: a killed commit may have left bytes there.
Done JournalOpening::write_frame(const Segment& segment, FrameHeader h, ByteView payload) {
    h.raw_bytes = h.payload_bytes;
    const auto header = encode_header(h, {&payload, 1});
    Bytes frame(header.begin(), header.end());
    frame.insert(frame.end(), payload.begin(), payload.end());
    frame.resize(h.frame_bytes());
    if (auto done = write_all(segment.fd(), frame, segment.offset_of(h.lsn)); !done) {
        return refuse("a resolved reservation cannot be written", done.error());
    }
    return {};
}

// What is shown since the last sync may be clean to the kernel and not on the disk: a sync of the last process may have
// failed, and is reported once. Written again, it is dirty, and the next sync speaks of all of it.
SysResult<void> JournalOpening::write_again(Lsn from, Lsn to) {
    constexpr std::uint64_t kChunkBytes = 256 * 1024;
    Bytes chunk;
    auto at = from;
    for (std::size_t i = 0; i < journal_->segments_.size(); ++i) {
        const auto& segment = journal_->segments_[i];
        for (const auto end = std::min(to, journal_->end_of(i)); at < end;) {
            chunk.resize(std::min<std::uint64_t>(kChunkBytes, end - at));
            const auto offset = segment->offset_of(at);
            if (auto done = read_exact(segment->fd(), chunk, offset); !done) return done;
            if (auto done = write_all(segment->fd(), chunk, offset); !done) return done;
            at = at + chunk.size();
        }
    }
    return {};
}

Done JournalOpening::begin() {
    auto& j = *journal_;
    if (auto done = j.table_.clear(); !done) return refuse("its table of reservations cannot be cleared", done.error());
    const auto tail = j.reserved_;
    j.order_.skip_to(tail);
    j.tail_ = tail.bytes();
    j.durable_ = durable_.bytes();
    j.directory_dirty_ = true;
    if (same_boot_) {
        if (auto done = write_again(j.durable(), tail); !done)
            return refuse("it cannot be written again", done.error());
    } else {  // it has been read, so it stands on the disk, unless the boot was not new after all
        if (auto done = j.sync(tail); !done) return refuse("it cannot be synced", done.error());
    }
    j.marks_.begin(tail, j.durable());
    j.marks_.set_clean(false);
    if (auto done = j.marks_.flush(); !done) return refuse("its marks cannot be written", done.error());
    const bool segments_ended = !j.ended_.empty();  // asked before the keeper's thread, which empties it, is there
    j.keeper_.start([&j] { j.keep_house(); });
    if (segments_ended) j.keeper_.kick();
    return {};
}

}  // namespace tdfs

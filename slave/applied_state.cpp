#include "slave/applied_state.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <new>

#include "common/journal/parity.hpp"
#include "common/os/file.hpp"
#include "proto/checksum.hpp"

namespace tdfs {

namespace {

constexpr std::uint64_t kMagic = 0x4445494c50504154;  // "TAPPLIED", little-endian, a letter short
constexpr std::uint32_t kVersion = 2;
constexpr std::uint32_t kVersionAhead = 3;  // some records may be marked
constexpr std::size_t kFileBytes = 4096;
constexpr std::size_t kBootBytes = 64;
constexpr const char* kFileName = "applied";

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8, "the mapped words must be plain memory");

template <std::size_t N>
std::uint64_t checksum_of(const std::array<std::uint64_t, N>& words) {
    return checksum(std::as_bytes(std::span(words)));
}

// With its generation, so that an older point is not taken for the latest.
std::uint64_t point_checksum(std::uint64_t generation, const AppliedPoint& at) {
    return checksum_of<5>({kMagic, generation, at.lsn.bytes(), at.time_ns, at.count});
}

std::uint64_t note_checksum(std::uint64_t lsn_plus_one, const StartedNote& note) {
    return checksum_of<4>({kMagic, lsn_plus_one, note.ino, note.other_ino});
}

constexpr std::uint64_t kValid = 0x6b6e6f776e2e2e2e;  // many bits, so that none alone turns it into kInvalid
constexpr std::uint64_t kInvalid = 0;
constexpr std::uint64_t kDistrusted = 0x6e6f742e6f6e2e2e;

}  // namespace

// Points are kept twice: generation g stands in points[g & 1], the next one is written into the other place and then
// counted, so that a reader who finds the same generation before and after has read one moment. In a note the lsn,
// which makes it count, is written last.
struct AppliedState::Layout {
    struct Point {
        Word lsn, time_ns, count, checksum;
    };
    struct Points {
        Word generation;  // with parity; 0: none yet
        std::array<Point, 2> points;
    };
    struct Note {
        Word lsn_plus_one;  // 0: none
        Word ino, other_ino, checksum;
    };
    std::uint64_t magic;
    std::atomic<std::uint32_t> version;
    std::uint32_t reserved;
    std::array<char, kBootBytes> boot;
    Word valid;
    Points applied;
    Note note;
    Points durable;    // checkpoints
    Word ahead_until;  // an lsn, with parity; 0, or not beyond the position: nothing is ahead
    std::array<Note, kMostWorkers> worker_notes;
    std::array<Word, kMostAhead> done;  // lsn + 1, with parity; what is before the position means nothing any more
};

namespace {

template <class Point>
AppliedPoint load(const Point& p) {
    return {Lsn(p.lsn.load(std::memory_order_acquire)), p.time_ns.load(std::memory_order_acquire),
            p.count.load(std::memory_order_acquire)};
}

template <class Points>
AppliedPoint load_current(const Points& of) {
    for (;;) {
        const auto before = of.generation.load(std::memory_order_acquire);
        const AppliedPoint at = load(of.points[before & 1]);
        if (of.generation.load(std::memory_order_acquire) == before) return at;
    }
}

// The current point verifies, or there is none yet.
template <class Points>
bool is_whole(const Points& of) {
    const auto generation = without_parity(of.generation.load());
    if (!generation) return false;
    const auto& p = of.points[*generation & 1];
    return *generation == 0 || p.checksum.load() == point_checksum(*generation, load(p));
}

template <class Points>
void save_next(Points& of, std::uint64_t generation, const AppliedPoint& at) {
    auto& p = of.points[generation & 1];
    p.lsn.store(at.lsn.bytes(), std::memory_order_release);
    p.time_ns.store(at.time_ns, std::memory_order_release);
    p.count.store(at.count, std::memory_order_release);
    p.checksum.store(point_checksum(generation, at), std::memory_order_release);
    of.generation.store(with_parity(generation), std::memory_order_release);
}

template <class Note>
bool is_whole_note(const Note& of) {
    const auto noted = of.lsn_plus_one.load();
    return noted == 0 || of.checksum.load() == note_checksum(noted, {of.ino.load(), of.other_ino.load()});
}

// Of words that no flip has reached: own_, which is memory of this process.
template <class Points>
std::uint64_t next_generation(const Points& of) {
    return without_parity(of.generation.load(std::memory_order_relaxed)).value_or(0) + 1;
}

Unexpected<std::string> trouble(const char* what, Errno e) {
    std::string text("state file ");
    text.append(kFileName).append(": ").append(what).append(": ").append(e.text());
    return Unexpected<std::string>(std::move(text));
}

}  // namespace

Result<std::unique_ptr<AppliedState>, std::string> AppliedState::open(int dir, const std::string& boot) {
    auto fd = open_at(dir, kFileName, O_RDWR | O_CREAT, 0600);
    if (!fd) return trouble("open", fd.error());
    const auto info = stat_fd(fd->get());
    if (!info) return trouble("stat", info.error());
    if (!info->is_regular()) return trouble("open", Errno(EINVAL));

    // Every block is there before it is mapped: a full disk must be an error here, not a SIGBUS in the replay.
    const bool is_new = info->size == 0;
    const bool is_short = !is_new && info->size < kFileBytes;
    if (is_new || is_short) {
        const Bytes zeros(kFileBytes, std::byte{0});
        if (auto done = write_all(fd->get(), zeros, 0); !done) return trouble("write", done.error());
    }
    void* at = ::mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0);
    if (at == MAP_FAILED) return trouble("map", Errno::last());
    static_assert(sizeof(Layout) <= kFileBytes);
    auto* map = std::launder(reinterpret_cast<Layout*>(at));

    std::unique_ptr<AppliedState> state(new AppliedState(std::move(*fd), map));
    const bool this_boot = boot == std::string(map->boot.data(), ::strnlen(map->boot.data(), kBootBytes));
    if (is_new) {
        state->found_ = Found::kNothing;
    } else if (is_short || !(this_boot ? state->is_intact() : state->has_intact_checkpoint())) {
        state->found_ = Found::kUnusable;
    } else if (!this_boot) {
        state->found_ = Found::kEarlierBoot;
    }
    if (state->found_ == Found::kThisBoot) {
        std::memcpy(static_cast<void*>(state->own_.get()), at, sizeof(Layout));
        const auto until = without_parity(state->own_->ahead_until.load()).value_or(0);
        state->ahead_until_ = until > state->point().lsn.bytes() ? until : 0;
        return state;
    }

    const bool has_kept = state->found_ == Found::kEarlierBoot && map->durable.generation.load() != 0;
    const AppliedPoint kept = has_kept ? load_current(map->durable) : AppliedPoint{};
    std::memset(at, 0, kFileBytes);
    map->magic = kMagic;
    map->version.store(kVersion, std::memory_order_release);
    std::memcpy(map->boot.data(), boot.data(), std::min(boot.size(), kBootBytes - 1));
    if (auto done = has_kept ? state->reset(kept) : state->sync(); !done) return Unexpected(done.error());
    return state;
}

AppliedState::AppliedState(OwnFd fd, Layout* map) : fd_(std::move(fd)), map_(map), own_(std::make_unique<Layout>()) {}

AppliedState::~AppliedState() { ::munmap(map_, kFileBytes); }

// The rest may have been written to the disk in the middle of a step of the replay.
bool AppliedState::has_intact_checkpoint() const {
    const auto version = map_->version.load();
    return map_->magic == kMagic && (version == kVersion || version == kVersionAhead) && is_whole(map_->durable);
}

bool AppliedState::is_intact() const {
    if (!has_intact_checkpoint()) return false;
    const auto valid = map_->valid.load();
    if (valid != kValid && valid != kInvalid && valid != kDistrusted) return false;
    if (valid == kValid && map_->applied.generation.load() == 0) return false;
    if (!is_whole_note(map_->note)) return false;
    for (const auto& note : map_->worker_notes) {
        if (!is_whole_note(note)) return false;
    }
    if (!without_parity(map_->ahead_until.load())) return false;
    for (const auto& mark : map_->done) {
        if (!without_parity(mark.load())) return false;
    }
    return is_whole(map_->applied);
}

bool AppliedState::valid() const { return own_->valid.load(std::memory_order_acquire) == kValid; }

bool AppliedState::distrusted() const { return own_->valid.load(std::memory_order_acquire) == kDistrusted; }

void AppliedState::distrust() {
    for (auto* at : {own_.get(), map_}) at->valid.store(kDistrusted, std::memory_order_release);
}

void AppliedState::set_valid(bool valid) {
    for (auto* at : {own_.get(), map_}) at->valid.store(valid ? kValid : kInvalid, std::memory_order_release);
}

AppliedPoint AppliedState::point() const { return load_current(own_->applied); }

AppliedPoint AppliedState::durable_point() const { return load_current(own_->durable); }

void AppliedState::start(Lsn record, const StartedNote& note, unsigned worker) {
    const auto noted = record.bytes() + 1;
    for (auto* at : {own_.get(), map_}) {
        auto& place = worker == 0 ? at->note : at->worker_notes[worker - 1];
        place.lsn_plus_one.store(0, std::memory_order_release);
        place.ino.store(note.ino, std::memory_order_release);
        place.other_ino.store(note.other_ino, std::memory_order_release);
        place.checksum.store(note_checksum(noted, note), std::memory_order_release);
        place.lsn_plus_one.store(noted, std::memory_order_release);
    }
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the effect's system call follows
}

std::optional<StartedNote> AppliedState::started(Lsn record) const {
    const auto tells = [&](const Layout::Note& note) {
        return note.lsn_plus_one.load(std::memory_order_acquire) == record.bytes() + 1;
    };
    const Layout::Note* found = tells(own_->note) ? &own_->note : nullptr;
    if (found == nullptr && is_ahead_of(record)) {
        const auto at = std::find_if(own_->worker_notes.begin(), own_->worker_notes.end(), tells);
        if (at != own_->worker_notes.end()) found = &*at;
    }
    if (found == nullptr) return std::nullopt;
    return StartedNote{found->ino.load(std::memory_order_acquire), found->other_ino.load(std::memory_order_acquire)};
}

void AppliedState::clear_started(Lsn record) {
    const auto clear = [&](Layout::Note& note) {
        if (note.lsn_plus_one.load(std::memory_order_acquire) == record.bytes() + 1)
            note.lsn_plus_one.store(0, std::memory_order_release);
    };
    for (auto* at : {own_.get(), map_}) {
        clear(at->note);
        if (!is_ahead_of(record)) continue;
        for (auto& note : at->worker_notes) clear(note);
    }
}

void AppliedState::clear_all_started() {
    for (auto* at : {own_.get(), map_}) {
        at->note.lsn_plus_one.store(0, std::memory_order_release);
        for (auto& note : at->worker_notes) note.lsn_plus_one.store(0, std::memory_order_release);
    }
}

void AppliedState::set_version(std::uint32_t version) {
    for (auto* at : {own_.get(), map_}) at->version.store(version, std::memory_order_release);
}

void AppliedState::begin_ahead(Lsn until) {
    set_version(kVersionAhead);
    for (auto* at : {own_.get(), map_}) at->ahead_until.store(with_parity(until.bytes()), std::memory_order_release);
    next_mark_ = 0;
    ahead_until_.store(until.bytes(), std::memory_order_release);
}

void AppliedState::mark_done(Lsn record) {
    const auto next = next_mark_.fetch_add(1, std::memory_order_relaxed);
    TDFS_INVARIANT(next < kMostAhead, "no more records are applied ahead than can be marked");
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the effect came before
    for (auto* at : {own_.get(), map_})
        at->done[next].store(with_parity(record.bytes() + 1), std::memory_order_release);
}

bool AppliedState::is_marked(Lsn record) const {
    const auto mark = with_parity(record.bytes() + 1);
    return std::any_of(own_->done.begin(), own_->done.end(),
                       [&](const Word& done) { return done.load(std::memory_order_acquire) == mark; });
}

void AppliedState::forget_ahead() {
    for (auto* at : {own_.get(), map_}) {
        at->ahead_until.store(0, std::memory_order_release);
        for (auto& mark : at->done) mark.store(0, std::memory_order_release);
    }
    set_version(kVersion);
    ahead_until_ = 0;
}

void AppliedState::store(const AppliedPoint& at) {
    const auto next = next_generation(own_->applied);
    for (auto* to : {own_.get(), map_}) save_next(to->applied, next, at);
}

void AppliedState::advance(Lsn end, std::uint64_t time_ns) {
    const AppliedPoint now = point();
    store({end, time_ns, now.count + 1});
    const auto until = ahead_until_.load(std::memory_order_relaxed);
    if (until == 0 || end.bytes() < until) return;
    set_version(kVersion);
    ahead_until_.store(0, std::memory_order_release);
}

Result<void, std::string> AppliedState::checkpoint(const AppliedPoint& at) {
    const auto next = next_generation(own_->durable);
    for (auto* to : {own_.get(), map_}) save_next(to->durable, next, at);
    return sync();
}

Result<void, std::string> AppliedState::reset(const AppliedPoint& at) {
    clear_all_started();
    forget_ahead();
    store(at);
    set_valid(true);
    return checkpoint(at);
}

Result<void, std::string> AppliedState::invalidate() {
    set_valid(false);
    clear_all_started();
    forget_ahead();
    for (auto* to : {own_.get(), map_}) to->durable.generation.store(0, std::memory_order_release);
    return sync();
}

Result<void, std::string> AppliedState::sync() {
    if (::msync(map_, kFileBytes, MS_SYNC) != 0) return trouble("sync", Errno::last());
    return {};
}

}  // namespace tdfs

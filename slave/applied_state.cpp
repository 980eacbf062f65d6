#include "slave/applied_state.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cstring>
#include <new>

#include "common/os/file.hpp"
#include "proto/checksum.hpp"

namespace tdfs {

namespace {

constexpr std::uint64_t kMagic = 0x4445494c50504154;  // "TAPPLIED", little-endian, a letter short
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kFileBytes = 4096;
constexpr std::size_t kBootBytes = 64;
constexpr const char* kFileName = "applied";

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8, "the mapped words must be plain memory");

std::uint64_t point_checksum(std::uint64_t lsn, std::uint64_t time_ns, std::uint64_t count) {
    const std::array<std::uint64_t, 4> words{kMagic, lsn, time_ns, count};
    return checksum(std::as_bytes(std::span(words)));
}

}  // namespace

// Points are kept twice: generation g stands in points[g & 1], the next one is written into the other place and then
// counted, so that a reader who finds the same generation before and after has read one moment. In a note the lsn,
// which makes it count, is written last.
struct AppliedState::Layout {
    struct Point {
        Word lsn, time_ns, count;
    };
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t reserved;
    std::array<char, kBootBytes> boot;
    Word valid;
    Word generation;
    std::array<Point, 2> points;
    Word note_lsn_plus_one;  // 0: none
    Word note_ino, note_other_ino;
    Word durable_generation;  // 0: no checkpoint
    struct Durable {
        Point point;
        Word checksum;
    };
    std::array<Durable, 2> durable;
};

namespace {

template <class Point>
AppliedPoint load(const Point& p) {
    return {Lsn(p.lsn.load(std::memory_order_acquire)), p.time_ns.load(std::memory_order_acquire),
            p.count.load(std::memory_order_acquire)};
}

template <class Point>
void save(Point& p, const AppliedPoint& at) {
    p.lsn.store(at.lsn.bytes(), std::memory_order_release);
    p.time_ns.store(at.time_ns, std::memory_order_release);
    p.count.store(at.count, std::memory_order_release);
}

template <class Points, class Get>
AppliedPoint load_current(const Word& generation, const Points& points, Get get) {
    for (;;) {
        const auto before = generation.load(std::memory_order_acquire);
        const AppliedPoint at = load(get(points[before & 1]));
        if (generation.load(std::memory_order_acquire) == before) return at;
    }
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

    auto found = Found::kThisBoot;
    const bool wrong_shape = map->magic != kMagic || map->version != kVersion;
    if (is_new) {
        found = Found::kNothing;
    } else if (is_short || wrong_shape) {
        found = Found::kUnusable;
    } else if (boot != std::string(map->boot.data(), ::strnlen(map->boot.data(), kBootBytes))) {
        found = Found::kEarlierBoot;
    }
    std::unique_ptr<AppliedState> state(new AppliedState(std::move(*fd), map, found));
    if (found == Found::kThisBoot) return state;

    AppliedPoint kept;
    bool has_kept = false;
    if (found == Found::kEarlierBoot) {
        const auto generation = map->durable_generation.load();
        const auto& durable = map->durable[generation & 1];
        kept = load(durable.point);
        has_kept =
            generation != 0 && durable.checksum.load() == point_checksum(kept.lsn.bytes(), kept.time_ns, kept.count);
        if (generation != 0 && !has_kept) state->found_ = Found::kUnusable;
    }
    std::memset(at, 0, kFileBytes);
    map->magic = kMagic;
    map->version = kVersion;
    std::memcpy(map->boot.data(), boot.data(), std::min(boot.size(), kBootBytes - 1));
    if (auto done = has_kept ? state->reset(kept) : state->sync(); !done) return Unexpected(done.error());
    return state;
}

AppliedState::~AppliedState() { ::munmap(map_, kFileBytes); }

bool AppliedState::valid() const { return map_->valid.load(std::memory_order_acquire) != 0; }

AppliedPoint AppliedState::point() const {
    return load_current(map_->generation, map_->points,
                        [](const Layout::Point& p) -> const Layout::Point& { return p; });
}

AppliedPoint AppliedState::durable_point() const {
    return load_current(map_->durable_generation, map_->durable,
                        [](const Layout::Durable& d) -> const Layout::Point& { return d.point; });
}

void AppliedState::start(Lsn record, const StartedNote& note) {
    clear_started();
    map_->note_ino.store(note.ino, std::memory_order_release);
    map_->note_other_ino.store(note.other_ino, std::memory_order_release);
    map_->note_lsn_plus_one.store(record.bytes() + 1, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the effect's system call follows
}

std::optional<StartedNote> AppliedState::started(Lsn record) const {
    if (map_->note_lsn_plus_one.load(std::memory_order_acquire) != record.bytes() + 1) return std::nullopt;
    return StartedNote{map_->note_ino.load(std::memory_order_acquire),
                       map_->note_other_ino.load(std::memory_order_acquire)};
}

void AppliedState::clear_started() { map_->note_lsn_plus_one.store(0, std::memory_order_release); }

void AppliedState::store(const AppliedPoint& at) {
    const auto next = map_->generation.load(std::memory_order_relaxed) + 1;
    save(map_->points[next & 1], at);
    map_->generation.store(next, std::memory_order_release);
}

void AppliedState::advance(Lsn end, std::uint64_t time_ns) {
    const AppliedPoint now = point();
    store({end, time_ns, now.count + 1});
}

Result<void, std::string> AppliedState::checkpoint(const AppliedPoint& at) {
    const auto next = map_->durable_generation.load(std::memory_order_relaxed) + 1;
    auto& durable = map_->durable[next & 1];
    save(durable.point, at);
    durable.checksum.store(point_checksum(at.lsn.bytes(), at.time_ns, at.count), std::memory_order_release);
    map_->durable_generation.store(next, std::memory_order_release);
    return sync();
}

Result<void, std::string> AppliedState::reset(const AppliedPoint& at) {
    clear_started();
    store(at);
    map_->valid.store(1, std::memory_order_release);
    return checkpoint(at);
}

Result<void, std::string> AppliedState::invalidate() {
    clear_started();
    map_->valid.store(0, std::memory_order_release);
    map_->durable_generation.store(0, std::memory_order_release);
    return sync();
}

Result<void, std::string> AppliedState::sync() {
    if (::msync(map_, kFileBytes, MS_SYNC) != 0) return trouble("sync", Errno::last());
    return {};
}

}  // namespace tdfs

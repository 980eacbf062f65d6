#include "common/journal/inflight_table.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <bit>

#include "common/os/file.hpp"
#include "proto/checksum.hpp"
#include "proto/frame.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kSlotBytes = 140 * 1024;    // whole pages; a short intent shares the first with the header
constexpr std::uint32_t kSlotMagic = 0x54534454;  // "TDST" in memory
constexpr std::uint64_t kMaxSlotsRead = 64 * 1024;
constexpr std::uint32_t kArmed = 0x5a000000;  // over frame_bytes, so that no flipped bit makes an armed slot a free one
constexpr std::uint32_t kArmedMask = 0xff000000;
static_assert(kMaxFrameBytes < ~kArmedMask);

}  // namespace

struct InflightTable::Slot {
    std::atomic<std::uint32_t> frame_bytes;  // stored last by arm(), first by release()
    std::atomic<std::uint32_t> magic;
    std::atomic<std::uint64_t> lsn;
    std::atomic<std::uint64_t> time_ns;
    std::atomic<std::uint64_t> intent_bytes;
    std::atomic<std::uint64_t> intent_sum;
    std::atomic<std::uint64_t> sum;
};

namespace {

std::uint64_t sum_of(std::uint64_t lsn, std::uint32_t frame_bytes, std::uint64_t time_ns, std::uint64_t intent_bytes,
                     std::uint64_t intent_sum) {
    const std::array<std::uint64_t, 5> words{lsn, frame_bytes, time_ns, intent_bytes, intent_sum};
    return checksum(std::as_bytes(std::span(words)));
}

constexpr std::size_t kIntentAt = 64;
static_assert(kIntentAt + kMaxIntentBytes <= kSlotBytes);

// A slot's header as it is read back.
struct SlotHeader {
    std::uint32_t frame_bytes = 0;
    std::uint32_t magic = 0;
    std::uint64_t lsn = 0;
    std::uint64_t time_ns = 0;
    std::uint64_t intent_bytes = 0;
    std::uint64_t intent_sum = 0;
    std::uint64_t sum = 0;

    // One bit alone was flipped in a free slot.
    [[nodiscard]] bool free() const { return std::popcount(frame_bytes) <= 1; }
    [[nodiscard]] std::uint32_t length() const { return frame_bytes & ~kArmedMask; }
    [[nodiscard]] bool armed() const {
        return magic == kSlotMagic && (frame_bytes & kArmedMask) == kArmed && length() >= kFrameHeaderBytes &&
               length() <= kMaxFrameBytes && intent_bytes <= kMaxIntentBytes &&
               sum == sum_of(lsn, length(), time_ns, intent_bytes, intent_sum);
    }
};

}  // namespace

InflightTable::Slot& InflightTable::slot(std::uint32_t number) const {
    static_assert(sizeof(Slot) == sizeof(SlotHeader) && sizeof(Slot) <= kIntentAt);
    static_assert(std::atomic<std::uint32_t>::is_always_lock_free && std::atomic<std::uint64_t>::is_always_lock_free);
    return *static_cast<Slot*>(static_cast<void*>(file_.data() + number * kSlotBytes));
}

SysResult<std::vector<InFlight>> InflightTable::leftovers(std::uint32_t& damaged) const {
    std::vector<InFlight> found;
    const auto fd = open_at(dir_, "inflight", O_RDONLY);
    if (!fd && fd.error().value() == ENOENT) return found;
    if (!fd) return fail(fd.error());
    for (std::uint64_t number = 0; number < kMaxSlotsRead; ++number) {
        SlotHeader header;
        const auto at = number * kSlotBytes;
        const auto got = read_some(fd->get(), std::as_writable_bytes(std::span(&header, 1)), at);
        if (!got) return fail(got.error());
        if (*got < sizeof header) break;
        if (header.free()) continue;
        if (!header.armed()) {
            ++damaged;
            continue;
        }
        InFlight left{Lsn(header.lsn), header.length(), header.time_ns, Bytes(header.intent_bytes)};
        const auto intent = read_some(fd->get(), left.intent, at + kIntentAt);
        if (!intent) return fail(intent.error());
        if (*intent == left.intent.size() && checksum(left.intent) == header.intent_sum) {
            found.push_back(std::move(left));
        } else {
            ++damaged;
        }
    }
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.lsn < b.lsn; });
    return found;
}

SysResult<void> InflightTable::clear() {
    const auto fd = open_at(dir_, "inflight", O_RDWR);
    if (!fd && fd.error().value() == ENOENT) return {};
    if (!fd) return fail(fd.error());
    const auto info = stat_fd(fd->get());
    if (!info) return fail(info.error());
    // Slot by slot rather than by truncation: on a full disk the space might not come back.
    const SlotHeader free;
    for (std::uint64_t at = 0; at + sizeof free <= info->size; at += kSlotBytes) {
        SlotHeader header;
        if (auto got = read_exact(fd->get(), std::as_writable_bytes(std::span(&header, 1)), at); !got) return got;
        if (header.frame_bytes == 0) continue;
        if (auto put = write_all(fd->get(), std::as_bytes(std::span(&free, 1)), at); !put) return put;
    }
    return {};
}

SysResult<void> InflightTable::map() {
    const std::lock_guard lock(map_mutex_);
    if (mapped_) return {};
    auto file = MappedFile::open(dir_, "inflight", slots_ * kSlotBytes);
    if (!file) return fail(file.error());
    file_ = std::move(*file);
    mapped_ = true;
    return {};
}

SysResult<std::uint32_t> InflightTable::take(ByteView intent) {
    if (!mapped_.load(std::memory_order_acquire)) {
        if (auto done = map(); !done) return fail(done.error());
    }
    const auto number = pool_.take();
    if (!number) return fail(ECANCELED);
    auto& s = slot(*number);
    s.magic.store(kSlotMagic, std::memory_order_relaxed);
    s.intent_bytes.store(intent.size(), std::memory_order_relaxed);
    s.intent_sum.store(checksum(intent), std::memory_order_relaxed);
    if (!intent.empty()) std::memcpy(file_.data() + *number * kSlotBytes + kIntentAt, intent.data(), intent.size());
    return *number;
}

void InflightTable::arm(std::uint32_t number, Lsn lsn, std::uint32_t frame_bytes, std::uint64_t time_ns) {
    auto& s = slot(number);
    s.lsn.store(lsn.bytes(), std::memory_order_relaxed);
    s.time_ns.store(time_ns, std::memory_order_relaxed);
    s.sum.store(sum_of(lsn.bytes(), frame_bytes, time_ns, s.intent_bytes.load(std::memory_order_relaxed),
                       s.intent_sum.load(std::memory_order_relaxed)),
                std::memory_order_relaxed);
    s.frame_bytes.store(frame_bytes | kArmed,
                        std::memory_order_release);  // a killed thread leaves all stores before this or not this
}

void InflightTable::release(std::uint32_t number) {
    slot(number).frame_bytes.store(0, std::memory_order_release);
    pool_.give_back(number);
}

}  // namespace tdfs

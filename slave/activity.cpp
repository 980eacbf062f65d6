#include "slave/activity.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <ctime>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "proto/checksum.hpp"

namespace tdfs {

namespace {

constexpr const char* kFile = "activity";
constexpr std::uint64_t kActivityMagic = 0x3179746976697463;  // "ctivity1"
constexpr std::uint64_t kHeaderBytes = 4096;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
constexpr std::uint64_t kClockTickNs = 20'000'000;  // change times lag behind the clock by a tick, 10 ms at most
constexpr std::uint64_t kQuietSeconds = 2;          // then nothing more is expected for now
constexpr std::uint64_t kSaveEverySeconds = 10;     // while changes go on
constexpr std::uint64_t kLongestSpanSeconds = 3600;
constexpr std::uint64_t kMostMarkedSeconds = 30ull * 24 * 3600;  // by one power loss; above, the log begins anew

// The marks of 32 seconds. `tag` tells which of the ring's rounds they belong to, so nothing has to be cleared.
constexpr std::uint64_t kSlotSeconds = 32;
constexpr std::uint64_t kSlots = 1ull << 19;
struct Slot {
    std::uint32_t tag = 0;  // second / 32
    std::uint32_t bits = 0;
};
static_assert(sizeof(Slot) == 8);

off_t place_of(std::uint64_t second) {
    return static_cast<off_t>(kHeaderBytes + (second / kSlotSeconds) % kSlots * sizeof(Slot));
}

// A slot that was never written is all zeros.
SysResult<Slot> read_slot(int fd, std::uint64_t second) {
    Slot e;
    if (::pread(fd, &e, sizeof e, place_of(second)) < 0) return fail_last();
    return e;
}

}  // namespace

std::uint64_t ActivityLog::checksum_of(const Header& header) {
    return tdfs::checksum(std::as_bytes(std::span(&header, 1)).first(offsetof(Header, checksum)));
}

Result<std::unique_ptr<ActivityLog>, std::string> ActivityLog::open(int dir, std::uint64_t root_ino) {
    auto fd = open_at(dir, kFile, O_RDWR | O_CREAT, 0600);
    if (!fd) return Unexpected<std::string>("the state file activity cannot be opened: " + fd.error().text());
    Header header;
    const auto got = ::pread(fd->get(), &header, sizeof header, 0);
    const bool whole = got == static_cast<ssize_t>(sizeof header) && header.magic == kActivityMagic &&
                       header.root_ino == root_ino && header.checksum == checksum_of(header);
    if (!whole) {
        if (got > 0) spdlog::warn("the state file activity is damaged or of another directory: it begins anew");
        const bool known = got > 0;
        header = {};
        header.magic = kActivityMagic;
        header.root_ino = root_ino;
        if (known) header.begin = wall_clock_ns() / kNsPerSecond + 1;
    }
    std::unique_ptr<ActivityLog> log(new ActivityLog(std::move(*fd), header));
    if (!whole && !log->save(0, false)) {
        return Unexpected<std::string>("the state file activity cannot be written: " + Errno::last().text());
    }
    return log;
}

std::uint64_t ActivityLog::boot_time_ns() {
    timespec up{};
    if (::clock_gettime(CLOCK_BOOTTIME, &up) != 0) return wall_clock_ns();
    const auto now = wall_clock_ns();
    return now - std::min(now, static_cast<std::uint64_t>(up.tv_sec) * kNsPerSecond);
}

void ActivityLog::went_down(std::uint64_t boot_ns) {
    const std::lock_guard lock(mutex_);
    if (header_.open_since == 0) return;
    std::uint64_t boot = boot_ns / kNsPerSecond;
    if (boot < header_.open_since) boot = wall_clock_ns() / kNsPerSecond;  // the clock was set: up to now, to be sure
    if (boot < header_.open_since) return;
    if (boot - header_.open_since > kMostMarkedSeconds) {
        header_.begin = boot + 1;
        begin_ = header_.begin;
        return;
    }
    for (auto second = header_.open_since; second <= boot; ++second) set(second);
}

void ActivityLog::begin() {
    mark();
    if (begin_ != 0) return;
    {
        const std::lock_guard lock(mutex_);
        header_.begin = wall_clock_ns() / kNsPerSecond;
        begin_ = header_.begin;
    }
    save(header_.begin, false);
}

void ActivityLog::mark() {
    const std::uint64_t now = wall_clock_ns();
    const std::uint64_t second = now / kNsPerSecond;
    if (newest_.load(std::memory_order_acquire) == second) return;
    const std::lock_guard lock(mutex_);
    const std::uint64_t newest = newest_.load(std::memory_order_relaxed);
    if (working_ > 0 && newest != 0) {
        for (auto at = std::max(newest + 1, second - std::min(second, kLongestSpanSeconds)); at < second; ++at) set(at);
    }
    const std::uint64_t before = (now - kClockTickNs) / kNsPerSecond;
    if (before != second) set(before);
    set(second);
    std::uint64_t none = 0;
    first_.compare_exchange_strong(none, before);
    newest_.store(second, std::memory_order_release);
}

void ActivityLog::set(std::uint64_t second) {
    const auto tag = static_cast<std::uint32_t>(second / kSlotSeconds);
    const std::uint32_t bit = 1u << (second % kSlotSeconds);
    auto slot = read_slot(fd_.get(), second);
    if (!slot) return complain("read", slot.error());
    if (slot->tag != tag) *slot = {tag, 0};
    if ((slot->bits & bit) != 0) return;
    slot->bits |= bit;
    if (::pwrite(fd_.get(), &*slot, sizeof *slot, place_of(second)) != sizeof *slot) complain("write", Errno::last());
}

bool ActivityLog::is_foreign(std::int64_t ctime_ns) const {
    const std::uint64_t begin = begin_;
    if (begin == 0 || ctime_ns < 0 || complained_) return false;
    const std::uint64_t second = static_cast<std::uint64_t>(ctime_ns) / kNsPerSecond;
    if (second < begin) return false;
    const auto slot = read_slot(fd_.get(), second);
    if (!slot) return false;
    const auto tag = static_cast<std::uint32_t>(second / kSlotSeconds);
    if (slot->tag != tag) return slot->tag < tag;  // a later round took its place: not known any more
    return (slot->bits & 1u << (second % kSlotSeconds)) == 0;
}

bool ActivityLog::save(std::uint64_t open_since, bool settle) {
    if (settle && ::fdatasync(fd_.get()) != 0) return false;  // the marks before the word that they are there
    Header header;
    {
        const std::lock_guard lock(mutex_);
        header_.open_since = open_since;
        header_.checksum = checksum_of(header_);
        header = header_;
    }
    return ::pwrite(fd_.get(), &header, sizeof header, 0) == static_cast<ssize_t>(sizeof header) &&
           ::fdatasync(fd_.get()) == 0;
}

bool ActivityLog::upkeep() {
    const std::uint64_t now = wall_clock_ns() / kNsPerSecond;
    const std::uint64_t open_since = header_.open_since;
    const std::uint64_t first = first_;
    bool saved = true;
    if (open_since == 0) {
        if (first == 0) return true;
        saved = save(first, true);
    } else if (newest_ + kQuietSeconds < now) {
        first_ = 0;  // a mark from here on opens it again
        saved = save(0, true);
        if (saved) return first_ == 0;
    } else if (open_since + kSaveEverySeconds < now) {
        saved = save(now - 1, true);
    }
    if (!saved) complain("sync", Errno::last());
    return false;
}

void ActivityLog::close() {
    mark();
    first_ = 0;
    if (!save(0, true)) complain("sync", Errno::last());
}

// Without marks nothing can be told apart any more in this run.
void ActivityLog::complain(const char* what, const Errno& e) {
    if (complained_.exchange(true)) return;
    spdlog::error(
        "cannot {} the state file activity: {}; until a restart changes by others are found by inspections only", what,
        e.text());
}

}  // namespace tdfs

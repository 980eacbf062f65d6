#include "master/retention.hpp"

#include <sys/statvfs.h>

#include <algorithm>
#include <array>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "proto/frame.hpp"

namespace tdfs {

namespace {
constexpr unsigned kNearPercent = 75;  // of what may be kept: then it is said ...
constexpr unsigned kFarPercent = 50;   // ... and may be said again after it was as little as this
}  // namespace

Lsn retention_floor(Lsn oldest, Lsn tail, std::optional<Lsn> slowest, const RetentionLimits& limits) {
    const auto back = [&](std::uint64_t bytes) { return tail - oldest > bytes ? Lsn(tail.bytes() - bytes) : oldest; };
    const Lsn by_limit = back(limits.retain_bytes);
    if (!slowest) return by_limit;
    return std::max(by_limit, std::min(*slowest, back(limits.spare_bytes)));
}

Lsn older_than(Journal& journal, std::uint64_t before_ns) {
    Lsn old = journal.oldest();
    for (;;) {
        // A segment's records are older than the first one of the next.
        const auto segment = journal.view(old);
        if (!segment || segment->bytes == 0) return old;
        const Lsn end = old + segment->bytes;
        const auto next = journal.view(end);
        if (!next || next->bytes < kFrameHeaderBytes) return old;
        std::array<std::byte, kFrameHeaderBytes> bytes{};
        const auto read = read_some(next->fd, bytes, next->file_offset);
        if (!read || *read < bytes.size()) return old;
        const auto header = decode_header(bytes);
        if (!header || header->time_ns >= before_ns) return old;
        old = end;
    }
}

HistoryUse history_use(const PeerStatus& peer, Lsn oldest, Lsn tail, const RetentionLimits& limits) {
    HistoryUse use;
    if (!peer.position_known) return use;
    use.known = true;
    use.lost = peer.received < oldest;
    const std::uint64_t behind = tail > peer.received ? tail - peer.received : 0;
    if (!use.lost && behind < limits.retain_bytes) use.left_bytes = limits.retain_bytes - behind;
    double share = static_cast<double>(behind) / static_cast<double>(limits.retain_bytes);
    if (limits.retain_age.count() != 0) {
        share = std::max(share, peer.lag_seconds / static_cast<double>(limits.retain_age.count()));
    }
    use.percent = use.lost ? 100 : static_cast<unsigned>(std::min(share, 1.0) * 100);
    return use;
}

Retention::Retention(Journal& journal, Publisher& publisher, int directory, bool has_slaves,
                     const RetentionLimits& limits, std::function<Lsn()> settled)
    : journal_(journal),
      publisher_(publisher),
      directory_(directory),
      has_slaves_(has_slaves),
      limits_(limits),
      settled_(std::move(settled)) {}

std::uint64_t Retention::free_bytes() const {
    struct statvfs s {};
    if (::fstatvfs(directory_, &s) != 0) return ~std::uint64_t{0};  // whoever wants to write finds out
    return std::uint64_t{s.f_bavail} * s.f_frsize;
}

void Retention::tend() {
    Lsn floor = retention_floor(journal_.oldest(), journal_.tail(),
                                has_slaves_ ? publisher_.slowest() : std::optional<Lsn>(journal_.tail()), limits_);
    if (const auto age = limits_.retain_age; age.count() != 0) {
        const auto age_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(age).count());
        floor = std::max(floor, older_than(journal_, wall_clock_ns() - age_ns));
    }
    drop_before(std::min(floor, settled_()));
    while (free_bytes() < limits_.reserve_bytes && give_up_oldest()) {
    }
    for (const PeerStatus& peer : publisher_.status()) look_after(peer);
}

void Retention::drop_before(Lsn floor) {
    const auto dropped = journal_.drop_before(floor);
    if (!dropped) spdlog::error("journal drop_before={} error=\"{}\"", floor.bytes(), dropped.error().text());
}

bool Retention::give_up_oldest() {
    const Lsn oldest = journal_.oldest();
    const auto segment = journal_.view(oldest);
    if (!segment) return false;
    const Lsn end = oldest + segment->bytes;
    if (end >= journal_.tail() || end > settled_()) return false;
    drop_before(end);
    if (journal_.oldest() == oldest) return false;
    if (given_up_.fetch_add(1) == 0) {
        spdlog::warn("journal: the disk is full (less than {} bytes, --reserve, would be left), old history goes",
                     limits_.reserve_bytes);
    }
    return true;
}

void Retention::look_after(const PeerStatus& peer) {
    const HistoryUse use = history_use(peer, journal_.oldest(), journal_.tail(), limits_);
    Told& told = told_[peer.target];
    if (use.known && use.lost) {
        if (told != Told::kLost) {
            spdlog::warn(
                "slave {}: has fallen out of the history that is kept (oldest={} it has {}): it will be resynced",
                peer.target, journal_.oldest().bytes(), peer.received.bytes());
        }
        told = Told::kLost;
    } else if (use.percent >= kNearPercent) {
        if (told == Told::kNothing) {
            spdlog::warn(
                "slave {}: falls out of the history that is kept after {} more bytes ({} % used; --retain-bytes, "
                "--retain-age)",
                peer.target, use.left_bytes, use.percent);
            told = Told::kNear;
        }
    } else if (use.percent <= kFarPercent) {
        told = Told::kNothing;
    }
}

Housekeeper::Housekeeper(std::function<void()> task) : task_(std::move(task)), thread_([this] { run(); }) {}

Housekeeper::~Housekeeper() {
    {
        const std::lock_guard guard(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void Housekeeper::run() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::seconds(1), [this] { return stopping_; })) {
        lock.unlock();
        task_();
        lock.lock();
    }
}

}  // namespace tdfs

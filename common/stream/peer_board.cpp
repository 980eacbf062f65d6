#include "common/stream/peer_board.hpp"

#include <algorithm>
#include <functional>

namespace tdfs {

namespace {

bool is_at(const PeerEntry& peer, Lsn upto, Publisher::Level level) {
    if (!peer.position_known) return false;
    switch (level) {
        case Publisher::Level::kReceived:
            return peer.status.received >= upto;
        case Publisher::Level::kDurable:
            return peer.status.durable >= upto;
        case Publisher::Level::kApplied:
            return peer.status.applied >= upto;
    }
    return false;
}

Lsn confirmed(const PeerStatus& peer, Publisher::Level level) {
    if (level == Publisher::Level::kReceived) return peer.received;
    return level == Publisher::Level::kDurable ? peer.durable : std::min(peer.durable, peer.applied);
}

bool named(const std::vector<std::string>& targets, const PeerEntry& peer) {
    return targets.empty() || std::find(targets.begin(), targets.end(), peer.status.target) != targets.end();
}

}  // namespace

PeerBoard::PeerBoard(const std::vector<std::string>& targets) : entries_(targets.size()) {
    for (std::size_t i = 0; i < targets.size(); ++i) entries_[i].status.target = targets[i];
}

bool PeerBoard::put(std::size_t index, const PeerStatus& status, bool position_known, bool linked,
                    std::uint64_t now_ns) {
    bool moved = false;
    {
        const std::lock_guard lock(mutex_);
        PeerEntry& entry = entries_[index];
        const PeerStatus& old = entry.status;
        moved = position_known && (!entry.position_known || old.received != status.received ||
                                   old.durable != status.durable || old.applied != status.applied);
        entry.status = status;
        entry.position_known = position_known;
        entry.linked = linked;
        entry.sent_rate.add(now_ns, status.bytes_sent);
        entry.applied_rate.add(now_ns, status.applied.bytes());
    }
    if (moved) moved_.notify_all();
    return moved;
}

void PeerBoard::close() {
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
    }
    moved_.notify_all();
}

std::vector<PeerEntry> PeerBoard::entries() const {
    const std::lock_guard lock(mutex_);
    return entries_;
}

std::size_t PeerBoard::size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
}

bool PeerBoard::has(const std::string& target) const {
    const std::lock_guard lock(mutex_);
    return std::any_of(entries_.begin(), entries_.end(), [&](const auto& e) { return e.status.target == target; });
}

std::optional<Lsn> PeerBoard::slowest() const {
    const std::lock_guard lock(mutex_);
    std::optional<Lsn> lowest;
    for (const PeerEntry& e : entries_) {
        if (!e.linked) return std::nullopt;
        const Lsn lsn = std::min(e.status.applied, e.status.durable);
        lowest = lowest ? std::min(*lowest, lsn) : lsn;
    }
    return lowest;
}

Lsn PeerBoard::confirmed_by(std::size_t count, Publisher::Level level) const {
    std::vector<Lsn> known;
    {
        const std::lock_guard lock(mutex_);
        for (const PeerEntry& e : entries_) {
            if (e.position_known) known.push_back(confirmed(e.status, level));
        }
    }
    if (count == 0 || known.size() < count) return Lsn();
    std::sort(known.begin(), known.end(), std::greater<>());
    return known[count - 1];
}

bool PeerBoard::wait(const std::vector<std::string>& targets, std::size_t count, Lsn upto, Publisher::Level level,
                     std::chrono::milliseconds timeout) {
    constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 365);
    const auto deadline = std::chrono::steady_clock::now() + std::min(timeout, kLongest);
    std::unique_lock lock(mutex_);
    const auto enough = [&] {
        std::size_t there = 0;
        for (const PeerEntry& e : entries_) {
            if (named(targets, e) && is_at(e, upto, level)) ++there;
        }
        return there >= count;
    };
    moved_.wait_until(lock, deadline, [&] { return closed_ || enough(); });
    return !closed_ && enough();
}

}  // namespace tdfs

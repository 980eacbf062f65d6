// What is known of every slave, where session threads write and everybody else reads and waits.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/stream/publisher.hpp"
#include "common/stream/rate.hpp"

namespace tdfs {

struct PeerEntry {
    PeerStatus status;            // lag and rates are left out
    bool position_known = false;  // received, durable, applied lie on our history
    bool linked = false;          // streaming or stalled on a connection that stands
    RateMeter sent_rate;
    RateMeter applied_rate;
};

// Thread-safe; one per publisher, outlives its links. The lock is held for copies only.
class PeerBoard {
  public:
    explicit PeerBoard(const std::vector<std::string>& targets);

    // Replaces the entry of one target; wakes those who wait where a position moved, and says whether one did.
    bool put(std::size_t index, const PeerStatus& status, bool position_known, bool linked, std::uint64_t now_ns);
    void close();  // wait() returns false from now on

    [[nodiscard]] std::vector<PeerEntry> entries() const;
    [[nodiscard]] std::size_t size() const;
    [[nodiscard]] bool has(const std::string& target) const;
    [[nodiscard]] std::optional<Lsn> slowest() const;
    [[nodiscard]] Lsn confirmed_by(std::size_t count, Publisher::Level level) const;  // see Publisher

    // Waits until at least `count` of the named targets (all if empty) are at `upto`; false on the deadline and after
    // close().
    bool wait(const std::vector<std::string>& targets, std::size_t count, Lsn upto, Publisher::Level level,
              std::chrono::milliseconds timeout);

  private:
    mutable std::mutex mutex_;
    std::condition_variable moved_;
    bool closed_ = false;
    std::vector<PeerEntry> entries_;
};

}  // namespace tdfs

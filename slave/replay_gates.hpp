// Meeting points of inspections and the replay.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "common/resync/inspector.hpp"
#include "proto/record.hpp"

namespace tdfs {

// What is to be looked at when the replay stands at a position, and which names it has given to other objects.
//
// meet(), watch(), take_moved() and unwatch() from any thread, the rest from the one that replays. Owned by the replayer.
class ReplayGates {
  public:
    static constexpr std::size_t kMaxMoved = 10'000;

    void meet(Lsn at, ReplayGate::Meeting meeting);
    void watch(const void* who);
    ReplayGate::Moved take_moved(const void* who);
    void unwatch(const void* who);

    // Whether someone waits for this position, or for one that is over. Cheap.
    [[nodiscard]] bool due(Lsn position) const { return position.bytes() >= next_.load(std::memory_order_acquire); }
    // Calls those who wait for exactly this position; true: one of them has changed the tree. Those who wait for what
    // is over are told that they missed it, as are all where the tree holds parts of what comes later (not `exact`).
    bool pass(Lsn position, bool exact = true);
    void applied(const Record& r);
    void clear();  // nobody is met any more

  private:
    struct Gate {
        Lsn at;
        ReplayGate::Meeting meeting;
    };
    static constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();
    void set_next();                    // needs mutex_
    void moved(std::string_view path);  // likewise

    std::atomic<std::uint64_t> next_{kNever};
    std::atomic<bool> watched_{false};
    std::mutex mutex_;  // guards:
    std::deque<Gate> gates_;
    struct Watcher {
        std::set<std::string> moved;
        bool all = false;
    };
    std::map<const void*, Watcher> watchers_;
};

}  // namespace tdfs

// How much history the master keeps, and the small things that have to be done about once a second.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/journal/journal.hpp"
#include "common/stream/publisher.hpp"

namespace tdfs {

struct RetentionLimits {
    std::uint64_t retain_bytes = 4ull << 30;    // unread history of slaves is kept up to this
    std::uint64_t spare_bytes = 256ull << 20;   // and this much even where every slave has read it, for short absences
    std::chrono::seconds retain_age{0};         // what is older goes, whoever has not read it; 0: no such limit
    std::uint64_t reserve_bytes = 64ull << 20;  // where less is free on the disk, history goes as if it were too long
};

// The lsn before which history may go: what every slave has durably, less the spare; and in any case what is older than
// the limit, so that a dead slave never fills the disk (it is resynced when it returns). `slowest`: nullopt when not all slaves are known to be
// somewhere.
[[nodiscard]] Lsn retention_floor(Lsn oldest, Lsn tail, std::optional<Lsn> slowest, const RetentionLimits& limits);

// The end of the last segment all of whose records were made before `before_ns`; oldest() if there is none.
[[nodiscard]] Lsn older_than(Journal& journal, std::uint64_t before_ns);

// Where a slave stands in the history that is kept for it.
struct HistoryUse {
    bool known = false;            // false: nobody knows where it is
    bool lost = false;             // what it has not read is gone: it will be resynced
    std::uint64_t left_bytes = 0;  // so many more, and it is
    unsigned percent = 0;          // of what may be kept, in bytes or in age
};
[[nodiscard]] HistoryUse history_use(const PeerStatus& peer, Lsn oldest, Lsn tail, const RetentionLimits& limits);

// Gives history up by the limits, and by need: where the disk is full (less than the reserve is free), the oldest segments go
// before anybody is told ENOSPC. Says once when a slave is about to fall out of history, and once when it has.
//
// tend() belongs to the housekeeper's thread; the rest is thread-safe. Owned by main; everything referred to outlives it.
class Retention {
  public:
    // `directory`: of the journal's file system. `settled`: history from there on is needed by a restart.
    Retention(Journal& journal, Publisher& publisher, int directory, bool has_slaves, const RetentionLimits& limits,
              std::function<Lsn()> settled);
    void tend();
    // The oldest segment goes, if it may: true. By any operation that finds the disk full.
    bool give_up_oldest();

    [[nodiscard]] const RetentionLimits& limits() const { return limits_; }
    [[nodiscard]] std::uint64_t free_bytes() const;  // to everybody, on the journal's file system
    [[nodiscard]] std::uint64_t given_up() const { return given_up_.load(); }  // segments, for want of space

  private:
    enum class Told { kNothing, kNear, kLost };
    void drop_before(Lsn floor);
    void look_after(const PeerStatus& peer);

    Journal& journal_;
    Publisher& publisher_;
    const int directory_;
    const bool has_slaves_;
    const RetentionLimits limits_;
    const std::function<Lsn()> settled_;
    std::atomic<std::uint64_t> given_up_{0};
    std::map<std::string, Told> told_;  // of each slave
};

// Calls `task` about once a second in a thread of its own. Owned by main.
class Housekeeper {
  public:
    explicit Housekeeper(std::function<void()> task);
    ~Housekeeper();
    Housekeeper(const Housekeeper&) = delete;
    Housekeeper& operator=(const Housekeeper&) = delete;

  private:
    void run();
    const std::function<void()> task_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace tdfs

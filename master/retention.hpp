// How much history the master keeps, and the small things that have to be done about once a second.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "common/journal/journal.hpp"

namespace tdfs {

struct RetentionLimits {
    std::uint64_t retain_bytes = 4ull << 30;   // unread history of slaves is kept up to this
    std::uint64_t spare_bytes = 256ull << 20;  // and this much even where every slave has read it, for short absences
};

// The lsn before which history may go: what every slave has durably, less the spare; and in any case what is older than
// the limit, so that a dead slave never fills the disk (it is resynced when it returns). `slowest`: nullopt when not all slaves are known to be
// somewhere.
[[nodiscard]] Lsn retention_floor(Lsn oldest, Lsn tail, std::optional<Lsn> slowest, const RetentionLimits& limits);

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

// The threads that apply the groups of a wave, several at once (--apply-workers).
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "slave/applier.hpp"
#include "slave/wave.hpp"

namespace tdfs {

// Each group is applied by one worker, in order; a record that is applied is marked in the state, and in the wave. Between two
// calls of run() nothing is in flight, and no file is open.
//
// A record that fails ends the wave: no worker begins another one, so that each worker's note is still the one of the record
// it was at. What is not marked then, the replay thread applies in order; there it is decided what becomes of the failure.
//
// Owned by the replica; all calls from the replay thread, or from whoever has stopped it. `root` and `state` outlive it.
class ApplyCrew {
  public:
    struct Failure {
        Lsn lsn;
        std::string why;
    };

    ApplyCrew(int root, AppliedState& state, const ApplyOptions& options, unsigned workers);
    ~ApplyCrew();  // stop()
    ApplyCrew(const ApplyCrew&) = delete;
    ApplyCrew& operator=(const ApplyCrew&) = delete;

    void start();
    void stop();
    // Returns when all of the wave is applied, or what had begun when something failed: that with the lowest lsn.
    std::optional<Failure> run(Wave& wave);
    // The tree was changed by others than the crew: all of it may look otherwise, or a directory has gone or come by this path.
    void forget();
    void forget(std::string_view path);

  private:
    void work(Applier& applier);
    void apply(Applier& applier, const Wave::Group& group);
    void failed(Lsn lsn, const ApplyError& error);

    AppliedState& state_;
    std::vector<std::unique_ptr<Applier>> appliers_;  // one for each worker
    std::vector<std::thread> threads_;

    std::mutex mutex_;  // guards:
    std::condition_variable wake_, done_;
    Wave* wave_ = nullptr;      // its items belong to the workers of their groups
    std::size_t next_ = 0;      // of its groups
    std::size_t finished_ = 0;  // groups
    std::optional<Failure> failure_;
    bool stop_ = false;

    std::atomic<bool> has_failed_{false};
};

}  // namespace tdfs

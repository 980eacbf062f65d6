// The thread that makes the replica durable.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "common/journal/journal.hpp"
#include "slave/applied_state.hpp"

namespace tdfs {

struct CheckpointOptions {
    std::uint64_t keep_spool_bytes = 0;  // of what is applied already
    std::uint32_t sync_every_ms = 1000;  // the spool; also how often is looked whether a checkpoint is due
    std::uint32_t checkpoint_every_ms = 10'000;
    std::uint64_t checkpoint_every_bytes = 256ull << 20;
};

// What was applied is synced every ten seconds or 256 MiB, or where space is short, and becomes the checkpoint: what a power loss
// cannot take.
// The spool is dropped up to the checkpoint and no further, so that whatever a power loss takes from the replica is
// still in the spool.
//
// Owned by the replica, which alone starts and stops it; received() and hurry() from
// any thread. All references outlive it.
class Checkpointer {
  public:
    // `upkeep`: called about every `sync_every_ms` until it says that there is nothing more to do.
    // `root`: the replica directory, a descriptor that is not O_PATH. `failed`: what is on the disk is not known any
    // more; ends the thread.
    Checkpointer(int root, Journal& spool, AppliedState& state, CheckpointOptions options,
                 std::function<void(const std::string&)> failed, std::function<bool()> upkeep = {});
    ~Checkpointer();  // stop()
    Checkpointer(const Checkpointer&) = delete;
    Checkpointer& operator=(const Checkpointer&) = delete;

    void start();
    void stop();
    void received();                             // the spool has grown
    void hurry();                                // space is short: what is applied is to leave the spool now
    Result<void, std::string> checkpoint_now();  // by the caller's thread, while this one is stopped
    // All that is in the replica now is on its disk. What a disk did not take it tells of once, and what it did not take is then taken
    // for written: after a failure the state is distrusted, and this fails until a resync has begun it anew. Any thread.
    Result<void, std::string> make_durable();

  private:
    using Clock = std::chrono::steady_clock;
    void run();
    Result<void, std::string> sync_replica();  // under sync_mutex_
    [[nodiscard]] bool is_due(Clock::time_point now, Clock::time_point last, bool hurry) const;
    [[nodiscard]] bool is_idle() const { return spool_.tail() <= state_.durable_point().lsn; }

    const int root_;
    Journal& spool_;
    AppliedState& state_;
    const CheckpointOptions options_;
    const std::function<void(const std::string&)> failed_;
    const std::function<bool()> upkeep_;
    std::thread thread_;
    std::mutex sync_mutex_;  // nobody makes a checkpoint between a failure and the distrust; taken before all others

    std::mutex mutex_;  // guards:
    std::condition_variable wake_;
    bool stop_ = false;
    bool idle_ = false;
    bool hurry_ = false;
};

}  // namespace tdfs

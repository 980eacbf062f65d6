// The thread that makes the spool and the replica durable.
#pragma once

#include <atomic>
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
    std::uint32_t sync_every_ms = 1000;
    std::uint32_t checkpoint_every_ms = 10'000;
    std::uint64_t checkpoint_every_bytes = 256ull << 20;
};

// What was received is synced every second, and at once where the master asked for it (a SyncRecord); what was
// applied is synced every ten seconds, and becomes the checkpoint. The spool is dropped up to the checkpoint and no
// further, so that whatever a power loss takes from the replica is still in the spool.
//
// Owned by the replica, which alone starts and stops it; received() and request_sync() from any thread. All references
// outlive it.
class Checkpointer {
  public:
    struct Events {
        std::function<void()> durable;                   // the spool is durable further than before
        std::function<void(const std::string&)> failed;  // what is on the disk is not known any more; ends the thread
    };
    // `root`: the replica directory, a descriptor that is not O_PATH.
    Checkpointer(int root, Journal& spool, AppliedState& state, CheckpointOptions options, Events events);
    ~Checkpointer();  // stop()
    Checkpointer(const Checkpointer&) = delete;
    Checkpointer& operator=(const Checkpointer&) = delete;

    void start();
    void stop();
    void received();      // the spool has grown
    void request_sync();  // what it holds is to be durable soon
    // Both at once, by the caller's thread while this one is stopped.
    Result<void, std::string> checkpoint_now();

  private:
    using Clock = std::chrono::steady_clock;
    void run();
    bool checkpoint_is_due(Clock::time_point now, Clock::time_point last) const;
    Result<void, std::string> sync_spool();
    Result<void, std::string> checkpoint();

    const int root_;
    Journal& spool_;
    AppliedState& state_;
    const CheckpointOptions options_;
    const Events events_;
    std::thread thread_;
    std::atomic<bool> unsynced_{false};

    std::mutex mutex_;  // guards:
    std::condition_variable wake_;
    bool stop_ = false;
    bool sync_asked_ = false;
};

}  // namespace tdfs

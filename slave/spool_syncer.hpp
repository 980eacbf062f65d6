// The thread that makes the spool durable.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "common/journal/journal.hpp"

namespace tdfs {

// What was received is synced every `every_ms`, and at once where the master asked for it (a SyncRecord): an fsync on
// the master may be waiting for the acknowledgement. Requests that come during a sync share the next one. It never
// waits for the replica's own write-back, which the checkpointer's thread does.
//
// Owned by the replica, which alone starts and stops it; received(), request_sync() and syncs() from any thread. The
// spool outlives it.
class SpoolSyncer {
  public:
    struct Events {
        std::function<void()> durable;                   // the spool is durable further than before
        std::function<void(const std::string&)> failed;  // what is on the disk is not known any more; ends the thread
    };
    SpoolSyncer(Journal& spool, std::uint32_t every_ms, Events events);
    ~SpoolSyncer();  // stop()
    SpoolSyncer(const SpoolSyncer&) = delete;
    SpoolSyncer& operator=(const SpoolSyncer&) = delete;

    void start();
    void stop();
    void received();                       // the spool has grown
    void request_sync();                   // what it holds is to be durable now
    Result<void, std::string> sync_now();  // by the caller's thread, while this one is stopped
    [[nodiscard]] std::uint64_t syncs() const { return syncs_.load(); }  // since the daemon started

  private:
    void run();

    Journal& spool_;
    const std::uint32_t every_ms_;
    const Events events_;
    std::thread thread_;
    std::atomic<bool> unsynced_{false};
    std::atomic<std::uint64_t> syncs_{0};
    Lsn told_;  // the durable position that the last event was about; the thread's own

    std::mutex mutex_;  // guards:
    std::condition_variable wake_;
    bool stop_ = false;
    bool asked_ = false;
};

}  // namespace tdfs

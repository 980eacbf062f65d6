// Inspects the slaves for ever, in the background and within a rate.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "common/control/status.hpp"
#include "common/stream/publisher.hpp"

namespace tdfs {

struct ScrubOptions {
    std::uint64_t rate = 0;           // bytes a second; 0: no scrubbing
    bool repair = false;              // what differs is healed, not only reported
    std::uint32_t pause_ms = 10'000;  // between two passes
};

// One slave after the other, in full, so that the rate holds for the master's disk too. A slave that does not stream is
// left for the next pass. What is found goes to the log, and counts as hard errors of that slave.
//
// A thread of its own; status() from any. Owned by main; `publisher` outlives it.
class Scrub {
  public:
    Scrub(Publisher& publisher, const ScrubOptions& options) : publisher_(publisher), options_(options) {}
    ~Scrub() { stop(); }
    Scrub(const Scrub&) = delete;
    Scrub& operator=(const Scrub&) = delete;

    void start();  // nothing happens without a rate
    void stop();
    [[nodiscard]] ScrubStatus status() const;

  private:
    void run();
    bool inspect(const std::string& target);  // false: it could not be done
    bool pause(std::uint32_t ms);             // false: stopped

    Publisher& publisher_;
    const ScrubOptions options_;
    std::thread thread_;

    mutable std::mutex mutex_;  // guards:
    std::condition_variable wake_;
    bool stopping_ = false;
    ScrubStatus status_;
};

}  // namespace tdfs

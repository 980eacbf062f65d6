// A cluster under a storm to which something bad is done again and again.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/storm/storm.hpp"

namespace tdfs::faults {

using Clock = std::chrono::steady_clock;

// How often a fault is tried: TDFS_FAULTS_COUNT, or `short_form`.
std::size_t count_of(std::size_t short_form);

// How often each replica was resynced in its life. Status counts them for the life of one process, the log for all.
std::vector<std::size_t> resyncs_of(const e2e::Cluster& cluster);

// Keeps a storm running on a cluster's mount, and checks what must hold after each of its parts: nothing hung, nothing
// surprised the writers, every replica is equal, and no replica was ever resynced since this began.
//
// Used by the test's main thread. The cluster outlives it.
class Faulted {
  public:
    Faulted(e2e::Cluster& cluster, std::uint64_t seed, unsigned threads = 4);

    // From now on a resync that heals is as good as a resume; the summary counts them.
    void allow_resyncs() { resyncs_allowed_ = true; }

    // Lets the storm go on for a random while, from nothing to `limit`, short ones more often.
    void weather(std::chrono::microseconds limit = std::chrono::milliseconds(250));
    // All threads of the storm get something done; then it ends, the slaves catch up and are compared. A new storm begins.
    void check_equal();
    // Restarts are timed until all slaves stream.
    void streaming_since(Clock::time_point restart);

    [[nodiscard]] std::mt19937_64& random() { return random_; }
    [[nodiscard]] std::size_t below(std::size_t limit) { return random_() % limit; }
    // For the end: what was done and how long restarts took.
    [[nodiscard]] std::string summary() const;

  private:
    void begin_storm();

    e2e::Cluster& cluster_;
    const std::uint64_t seed_;
    const unsigned threads_;
    std::mt19937_64 random_;
    std::string root_;
    std::unique_ptr<e2e::Storm> storm_;
    std::vector<std::size_t> resyncs_before_;
    bool resyncs_allowed_ = false;
    std::size_t storms_ = 0, restarts_ = 0, compared_ = 0;
    std::uint64_t operations_ = 0;
    std::chrono::milliseconds longest_{0}, all_{0};
};

}  // namespace tdfs::faults

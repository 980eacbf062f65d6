// A hold of the writers that ends by itself.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "common/journal/journal.hpp"
#include "common/resync/source.hpp"

namespace tdfs {

// Holds the writers from construction until end(), destruction or the time limit, whatever the session's thread waits
// for meanwhile. Takes and releases the hold on a thread of its own, since locks belong to the thread that took them.
//
// Used by one thread; `writers` outlives it.
class TimedHold {
  public:
    TimedHold(WriterHold& writers, std::chrono::milliseconds limit);  // returns once writers are held
    ~TimedHold();
    TimedHold(const TimedHold&) = delete;
    TimedHold& operator=(const TimedHold&) = delete;

    [[nodiscard]] Lsn lsn() const { return lsn_; }
    // Lets the writers go. True: they were held without a gap until now.
    bool end();
    // How long writers had to wait; after end().
    [[nodiscard]] double ms() const { return ms_; }

  private:
    void run();

    WriterHold& writers_;
    const std::chrono::milliseconds limit_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool held_ = false;
    bool ending_ = false;
    bool expired_ = false;
    Lsn lsn_;
    double ms_ = 0;
    std::thread thread_;
};

// Why what stands in the master's directory may stand in no record of its journal; empty: it does. While writers are held.
[[nodiscard]] std::string ahead_of_history(const Journal& journal);

}  // namespace tdfs

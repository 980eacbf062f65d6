// Several threads that do random things to one directory tree, over and over.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace tdfs::e2e {

struct StormOptions {
    std::uint64_t seed = 0;
    unsigned threads = 4;
    std::size_t operations = 0;  // of each thread; 0: until stop()
    unsigned pause_us = 0;       // after each operation
    bool may_fail = false;       // the file system goes away meanwhile: what a mount answers then is no surprise
    bool may_be_full = false;    // neither is ENOSPC
};

// Few names, so that the threads meet on them all the time; which errors that brings is nobody's business, as long as
// they are such as a local file system gives too. Starts at once. The directory must exist and outlive it.
class Storm {
  public:
    Storm(std::string root, const StormOptions& options);
    ~Storm();  // stop()
    Storm(const Storm&) = delete;
    Storm& operator=(const Storm&) = delete;

    void stop();  // and wait until all threads have ended
    void wait();  // until all operations are done
    [[nodiscard]] std::uint64_t done() const { return done_; }
    [[nodiscard]] std::uint64_t done_by_slowest() const;  // a thread that hangs shows here
    // Errors that a local file system does not give, each with its operation; not more than 20.
    [[nodiscard]] std::string surprises() const;

  private:
    void work(unsigned me);

    const std::string root_;
    const StormOptions options_;
    std::atomic<bool> stop_ = false;
    std::atomic<std::uint64_t> done_ = 0;
    std::vector<std::atomic<std::uint64_t>> done_by_;  // of each thread
    mutable std::mutex mutex_;
    std::vector<std::string> surprises_;  // guarded by mutex_
    std::vector<std::thread> threads_;
};

}  // namespace tdfs::e2e

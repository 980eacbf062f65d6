// Reads ahead of a walk: several directories at a time are brought into memory.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace tdfs {

// A walk asks its disk for one thing after another; threads that open and list the directories to come, and stat what
// is in them, ask for several at once. What they find is forgotten: the walk looks for itself, at a tree that is in memory then.
//
// The threads exist from the first directory on that took so long that it must have come from a disk. A directory that is
// in memory as the first of its names are is left to the walk.
//
// soon() and took() by one thread, which never waits here; the destructor waits for the calls that are under way. `root` outlives it.
class LookAhead {
  public:
    explicit LookAhead(int root) : root_(root) {}
    ~LookAhead();
    LookAhead(const LookAhead&) = delete;
    LookAhead& operator=(const LookAhead&) = delete;

    // The walk will come to this directory, after those it has announced before.
    void soon(const std::string& path);
    // The walk has come to the first of those it announced, and has opened and listed it in `ns`.
    void took(std::uint64_t ns, std::size_t names);

    [[nodiscard]] bool active() const { return !threads_.empty(); }

    static constexpr std::size_t kThreads = 8;
    static constexpr std::uint64_t kQuickNs = 150'000;      // a directory, and for each of its names:
    static constexpr std::uint64_t kQuickNsOfAName = 1000;  // both several times what memory takes

  private:
    std::unique_lock<std::mutex> lock();
    void run();
    void look_at(const std::string& path);

    const int root_;
    std::vector<std::thread> threads_;

    std::mutex mutex_;  // guards:
    std::condition_variable wake_;
    std::deque<std::string> ahead_;  // announced, and not reached by the walk: as many as are asked about at once
    std::size_t next_ = 0;           // the first of them that no thread has taken

    std::atomic<bool> stop_{false};
};

}  // namespace tdfs

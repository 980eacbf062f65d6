// Numbers 0..n-1 that threads borrow.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

namespace tdfs {

// Lock-free as long as there is a free one; otherwise take() sleeps until one is given back. Low numbers are preferred,
// so that few pages of a table indexed by them are in use.
class SlotPool {
  public:
    explicit SlotPool(std::uint32_t slots);

    std::optional<std::uint32_t> take();  // nullopt: interrupted while waiting
    void give_back(std::uint32_t slot);
    void interrupt();  // for good: take() does not sleep any more

  private:
    std::optional<std::uint32_t> try_take();

    const std::uint32_t words_;
    const std::unique_ptr<std::atomic<std::uint64_t>[]> free_;  // a bit for each free slot
    std::atomic<std::uint32_t> sleepers_{0};
    std::mutex mutex_;
    std::condition_variable given_back_;
    bool interrupted_ = false;  // guarded by mutex_
};

}  // namespace tdfs

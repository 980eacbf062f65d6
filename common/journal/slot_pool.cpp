#include "common/journal/slot_pool.hpp"

#include <bit>

namespace tdfs {

namespace {

constexpr std::uint32_t kBits = 64;

}  // namespace

SlotPool::SlotPool(std::uint32_t slots)
    : words_((slots + kBits - 1) / kBits), free_(new std::atomic<std::uint64_t>[words_]) {
    for (std::uint32_t word = 0; word < words_; ++word) {
        const auto left = slots - word * kBits;
        free_[word] = left >= kBits ? ~0ull : (1ull << left) - 1;
    }
}

std::optional<std::uint32_t> SlotPool::try_take() {
    for (std::uint32_t word = 0; word < words_; ++word) {
        auto bits = free_[word].load();
        while (bits != 0) {
            if (free_[word].compare_exchange_weak(bits, bits & (bits - 1))) {
                return word * kBits + static_cast<std::uint32_t>(std::countr_zero(bits));
            }
        }
    }
    return std::nullopt;
}

std::optional<std::uint32_t> SlotPool::take() {
    if (const auto slot = try_take()) return slot;
    std::unique_lock lock(mutex_);
    ++sleepers_;  // seen by whoever gives a slot back after the try below has missed it
    std::optional<std::uint32_t> slot;
    given_back_.wait(lock, [&] { return (slot = try_take()) || interrupted_; });
    --sleepers_;
    return slot;
}

void SlotPool::give_back(std::uint32_t slot) {
    free_[slot / kBits].fetch_or(1ull << (slot % kBits));
    if (sleepers_.load() == 0) return;
    const std::lock_guard lock(mutex_);
    given_back_.notify_one();
}

void SlotPool::interrupt() {
    const std::lock_guard lock(mutex_);
    interrupted_ = true;
    given_back_.notify_all();
}

}  // namespace tdfs

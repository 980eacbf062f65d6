// Bytes per second over the last seconds, from a number that only grows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "common/stream/timing.hpp"

namespace tdfs {

// Keeps a sample each half second. Not thread-safe.
class RateMeter {
  public:
    void add(std::uint64_t now_ns, std::uint64_t total) {
        if (count_ > 0 && total < newest().total) count_ = 0;  // it began anew
        if (count_ > 0 && now_ns - newest().at_ns < kSecondNs / 2) return;
        samples_[next_] = {now_ns, total};
        next_ = (next_ + 1) % samples_.size();
        if (count_ < samples_.size()) ++count_;
    }
    [[nodiscard]] double per_second(std::uint64_t now_ns, std::uint64_t total) const {
        if (count_ == 0 || total < newest().total) return 0;
        const Sample* from = nullptr;
        for (std::size_t i = 0; i < count_; ++i) {  // the oldest sample that is not stale, else the newest
            from = &samples_[(next_ + samples_.size() - count_ + i) % samples_.size()];
            if (now_ns - from->at_ns <= kWindowNs) break;
        }
        if (now_ns <= from->at_ns) return 0;  // also where the caller looked at its clock before the sample was taken
        return static_cast<double>(total - from->total) * 1e9 / static_cast<double>(now_ns - from->at_ns);
    }

  private:
    static constexpr std::uint64_t kWindowNs = 5 * kSecondNs;
    struct Sample {
        std::uint64_t at_ns = 0;
        std::uint64_t total = 0;
    };
    [[nodiscard]] const Sample& newest() const { return samples_[(next_ + samples_.size() - 1) % samples_.size()]; }
    std::array<Sample, 12> samples_{};
    std::size_t next_ = 0;
    std::size_t count_ = 0;
};

}  // namespace tdfs

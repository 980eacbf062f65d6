// The one source of chance in a run.
#pragma once

#include <cstdint>

namespace tdfs::sim {

// splitmix64: small, fast, the same on every machine. Copyable; a fork() goes its own way from here on, so that what one
// part draws does not change what another one gets.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        return z ^ (z >> 31);
    }
    // 0 .. n-1; n is not 0.
    std::uint64_t below(std::uint64_t n) { return next() % n; }
    std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + below(high - low + 1); }
    bool one_in(std::uint64_t n) { return below(n) == 0; }
    Random fork() { return Random(next()); }

  private:
    std::uint64_t state_;
};

}  // namespace tdfs::sim

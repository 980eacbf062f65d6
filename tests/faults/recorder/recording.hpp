// A disk as it was, or as a power cut would have left it, at any moment of a recording.
#pragma once

#include <cstdint>
#include <random>
#include <string>

namespace tdfs::faults {

using MomentNs = std::uint64_t;  // of the monotonic clock, as std::chrono::steady_clock counts

MomentNs moment_now();

// What becomes of the sectors that were not flushed.
struct Loss {
    double kept = 1;  // the share of them
    std::mt19937_64* random = nullptr;
};

struct Image {
    std::size_t written = 0;  // sectors up to the moment
    std::size_t at_risk = 0;  // of these, not flushed
    std::size_t lost = 0;
};

// Makes the disk of `bytes`, recorded in the file `log`, at `moment`: the file `image`, which must not exist. Throws
// std::runtime_error.
Image make_image(const std::string& log, MomentNs moment, const Loss& loss, const std::string& image,
                 std::uint64_t bytes);

// The moment of a write or flush between two others, any of them; `to` if there is none. Where a cut leaves most at risk.
MomentNs some_entry(const std::string& log, MomentNs from, MomentNs to, std::mt19937_64& random);

}  // namespace tdfs::faults

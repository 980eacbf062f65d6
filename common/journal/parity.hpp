// A number below 2^63 in one 64-bit word that tells when one of its bits has been flipped.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

namespace tdfs {

// For numbers in mapped files that are stored with one instruction, so that a kill never leaves half of them: a checksum
// beside them could be a store behind. The highest bit makes the number of ones even.
[[nodiscard]] constexpr std::uint64_t with_parity(std::uint64_t value) {
    return value | static_cast<std::uint64_t>(std::popcount(value) & 1) << 63;
}

// Nothing: it was damaged.
[[nodiscard]] constexpr std::optional<std::uint64_t> without_parity(std::uint64_t word) {
    if (std::popcount(word) % 2 != 0) return std::nullopt;
    return word & ~(1ull << 63);
}

}  // namespace tdfs

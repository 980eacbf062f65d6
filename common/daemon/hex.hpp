// A number as 16 hex digits.
#pragma once

#include <cstdint>
#include <string>

#include "proto/hex.hpp"

namespace tdfs {

[[nodiscard]] inline std::string hex(std::uint64_t value) {
    std::string text(16, '0');
    for (std::size_t i = 0; i < 16; ++i) text[15 - i] = kHexDigits[(value >> (4 * i)) & 15U];
    return text;
}

}  // namespace tdfs

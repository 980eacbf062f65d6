// A number as 16 hex digits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tdfs {

[[nodiscard]] inline std::string hex(std::uint64_t value) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text(16, '0');
    for (std::size_t i = 0; i < 16; ++i) text[15 - i] = kDigits[(value >> (4 * i)) & 15U];
    return text;
}

}  // namespace tdfs

// Frame headers that no writer would write: with a field changed and their own checksum right again.
#pragma once

#include <cstring>
#include <span>

#include "proto/checksum.hpp"

namespace tdfs::test {

// `header` begins with the 48 bytes of one; what the decoder says of them then is about the other fields.
inline void seal_header(std::span<std::byte> header) {
    constexpr std::size_t kHeaderSumAt = 36;
    const auto sum = static_cast<std::uint32_t>(checksum(header.first(kHeaderSumAt)));
    std::memcpy(header.data() + kHeaderSumAt, &sum, sizeof sum);
}

}  // namespace tdfs::test

// What libFuzzer calls, and the replay of the corpora too: one input, which must neither crash nor break a promise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/bytes.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace tdfs::fuzz {

inline ByteView input(const std::uint8_t* data, std::size_t size) { return std::as_bytes(std::span(data, size)); }

}  // namespace tdfs::fuzz

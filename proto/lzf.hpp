// LZF compression with every length bounded by the caller.
#pragma once

#include "proto/bytes.hpp"

namespace tdfs {

// Compresses `in` into `out` (replaced). False, with `out` empty, where the result would not be smaller than the input.
// The same input may give other bytes on another machine (the compressor's hash table); all of them expand alike.
[[nodiscard]] bool lzf_compress(ByteView in, Bytes& out);

// Expands `in` to exactly `raw_size` bytes into `out` (replaced; empty on error). The caller has checked raw_size
// against its bound.
[[nodiscard]] Result<void, DecodeError> lzf_expand(ByteView in, std::size_t raw_size, Bytes& out);

}  // namespace tdfs

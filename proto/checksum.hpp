// The checksum of frames and the hash of file blocks, both xxHash's XXH3 with seed 0.
#pragma once

#include <array>
#include <cstdint>

#include "proto/bytes.hpp"

namespace tdfs {

// XXH3 (64 bits) over several pieces: the value depends on their bytes, not on where they were cut.
//
// Lives on the stack and takes no memory. One thread at a time.
class Checksum {
  public:
    Checksum();
    Checksum(const Checksum&) = delete;
    Checksum& operator=(const Checksum&) = delete;
    void add(ByteView bytes);
    // Of all that was added so far; more may follow.
    [[nodiscard]] std::uint64_t value() const;

  private:
    static constexpr std::size_t kStateBytes = 576;  // xxHash's streaming state; checked where it is used
    alignas(64) std::array<std::byte, kStateBytes> state_;
};

[[nodiscard]] std::uint64_t checksum(ByteView bytes);

// XXH3, 128 bits: equal hashes are taken for equal content, so 64 would be too few.
struct BlockHash {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    friend bool operator==(const BlockHash&, const BlockHash&) = default;
};
[[nodiscard]] BlockHash block_hash(ByteView bytes);

}  // namespace tdfs

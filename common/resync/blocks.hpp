// Blocks of a file as both sides of a resync see them: bytes and holes.
#pragma once

#include <cstdint>
#include <vector>

#include "common/os/file.hpp"
#include "proto/checksum.hpp"
#include "proto/resync.hpp"

namespace tdfs {

struct Extent {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool data = false;
    [[nodiscard]] std::uint64_t end() const { return offset + length; }
};

// Data and holes of [begin, end), in order and without gaps.
SysResult<std::vector<Extent>> extents_of(int fd, std::uint64_t begin, std::uint64_t end);

// Makes [offset, offset + length) a hole, or zeros where the file system knows no holes. What lies beyond the end of the
// file stays so.
SysResult<void> make_hole(int fd, std::uint64_t offset, std::uint64_t length);

// Reads block after block of [begin, end) of a file; `begin` is a multiple of kResyncBlockBytes. Not thread-safe; `fd`
// outlives it.
class BlockReader {
  public:
    // Finds the extents. A failure is told by next().
    BlockReader(int fd, std::uint64_t begin, std::uint64_t end);

    struct Block {
        std::uint64_t offset = 0;
        std::vector<Extent> extents;  // of this block
        ByteView bytes;               // of the data extents, one after the other; until the next call
        // Over bytes and the places of holes, so that blocks are equal only if the holes are as well.
        BlockHash hash;
    };
    // Over the bytes alone, where holes are zeros: file systems differ in where they keep them.
    [[nodiscard]] static BlockHash content_hash(const Block& block);
    // False at the end. What a file that shrank meanwhile lacks is read as zeros.
    SysResult<bool> next(Block& block);

  private:
    int fd_;
    std::uint64_t at_;
    std::uint64_t end_;
    SysResult<std::vector<Extent>> extents_;
    std::size_t index_ = 0;
    Bytes buffer_;
};

}  // namespace tdfs

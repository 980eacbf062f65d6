// Frames from a segment's file, read ahead and verified.
#pragma once

#include <memory>

#include "common/journal/segment.hpp"
#include "proto/frame.hpp"

namespace tdfs {

// Looks at one place after the other and says whether a frame that belongs there stands there, whole and undamaged.
// Reads in pieces of kReadAheadBytes, so that going forward costs few system calls.
//
// Not thread-safe. What it has read it trusts until forget(): bytes that may still change lie outside `limit`.
class FrameScanner {
  public:
    enum class Found { kFrame, kNone, kError };
    // At `offset` of the segment's file, of which `limit` more bytes may be looked at. kFrame: `frame` points into the
    // scanner's buffer until the next call. kError: reading failed with error().
    Found look(const std::shared_ptr<const Segment>& segment, std::uint64_t offset, std::uint64_t limit,
               FrameView& frame);
    void forget() { segment_.reset(); }
    [[nodiscard]] Errno error() const { return error_; }

  private:
    // Makes [offset, offset + bytes) stand at begin_; false: the file or the limit ends before, or error_ is set.
    bool hold(std::uint64_t offset, std::uint64_t bytes, std::uint64_t limit);

    std::shared_ptr<const Segment> segment_;  // that buffer_ is from
    std::uint64_t held_at_ = 0;               // file offset of buffer_'s first byte
    std::size_t held_ = 0;
    Bytes buffer_;
    Errno error_{0};
};

}  // namespace tdfs

// The incremental parser between a link and a session.
#pragma once

#include <memory>
#include <span>

#include "proto/frame.hpp"

namespace tdfs {

// Bytes of a link come in at the end, whole verified frames go out at the front.
//
// Invariant: never holds more than the larger of its first size and one frame of `limit_bytes`; a frame that says it
// is larger is an error before memory is taken for it. Owned by a session, used by its thread only. Views stay valid
// until space() or consume().
class FrameBuffer {
  public:
    FrameBuffer(std::size_t initial_bytes, std::size_t limit_bytes);

    // Where the next bytes go. Empty while all room is taken by frames that nobody has consumed.
    [[nodiscard]] std::span<std::byte> space();
    void filled(std::size_t bytes);

    // The frame that begins `skip` bytes behind the front, checksum verified; not complete() where bytes are missing.
    // After an error the link is of no use any more.
    [[nodiscard]] Result<FrameView, DecodeError> frame(std::size_t skip = 0);
    [[nodiscard]] ByteView front(std::size_t bytes) const;
    void consume(std::size_t bytes);

    [[nodiscard]] std::size_t buffered() const { return end_ - begin_; }

  private:
    std::size_t capacity_;
    std::size_t limit_bytes_;
    std::unique_ptr<std::byte[]> bytes_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t needed_ = kFrameHeaderBytes;  // what the frame at the front takes, as far as it is known
};

}  // namespace tdfs

#include "common/stream/frame_buffer.hpp"

#include <algorithm>
#include <cstring>

namespace tdfs {

FrameBuffer::FrameBuffer(std::size_t initial_bytes, std::size_t limit_bytes)
    : capacity_(std::max(initial_bytes, kFrameHeaderBytes)),
      limit_bytes_(limit_bytes),
      bytes_(std::make_unique_for_overwrite<std::byte[]>(capacity_)) {}

std::span<std::byte> FrameBuffer::space() {
    if (needed_ > capacity_) {
        auto larger = std::make_unique_for_overwrite<std::byte[]>(needed_);
        std::memcpy(larger.get(), bytes_.get() + begin_, buffered());
        bytes_ = std::move(larger);
        capacity_ = needed_;
        end_ = buffered();
        begin_ = 0;
    } else if (begin_ > 0 && capacity_ - end_ < capacity_ / 2) {
        // What is left is mostly the beginning of one frame, so this moves little.
        std::memmove(bytes_.get(), bytes_.get() + begin_, buffered());
        end_ = buffered();
        begin_ = 0;
    }
    return {bytes_.get() + end_, capacity_ - end_};
}

void FrameBuffer::filled(std::size_t bytes) {
    TDFS_INVARIANT(bytes <= capacity_ - end_, "more bytes than there was room for");
    end_ += bytes;
}

Result<FrameView, DecodeError> FrameBuffer::frame(std::size_t skip) {
    const ByteView rest = front(buffered()).subspan(skip);
    auto parsed = parse_frame(rest);
    if (!parsed) return parsed;
    const std::size_t size = parsed->complete() ? parsed->header.frame_bytes() : parsed->needed;
    if (size > limit_bytes_) return bad("frame is too large");
    if (skip == 0) needed_ = size;
    return parsed;
}

ByteView FrameBuffer::front(std::size_t bytes) const { return {bytes_.get() + begin_, bytes}; }

void FrameBuffer::consume(std::size_t bytes) {
    TDFS_INVARIANT(bytes <= buffered(), "more bytes consumed than there are");
    begin_ += bytes;
    if (begin_ == end_) begin_ = end_ = 0;
    needed_ = kFrameHeaderBytes;
}

}  // namespace tdfs

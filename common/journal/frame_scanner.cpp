#include "common/journal/frame_scanner.hpp"

#include <algorithm>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kReadAheadBytes = 256 * 1024;

}  // namespace

FrameScanner::Found FrameScanner::look(const std::shared_ptr<const Segment>& segment, std::uint64_t offset,
                                       std::uint64_t limit, FrameView& frame) {
    if (segment_ != segment) {
        segment_ = segment;
        held_ = 0;
    }
    error_ = Errno(0);
    const auto none = [&] { return error_ == Errno(0) ? Found::kNone : Found::kError; };

    std::uint64_t wanted = kFrameHeaderBytes;
    for (;;) {
        if (!hold(offset, wanted, limit)) return none();
        const auto held = ByteView(buffer_).subspan(offset - held_at_, held_ - (offset - held_at_));
        const auto parsed = parse_frame(held.first(std::min<std::uint64_t>(held.size(), limit)));
        if (!parsed) return Found::kNone;
        if (parsed->complete()) {
            if (parsed->header.lsn != segment->first() + offset) return Found::kNone;
            if (parsed->header.kind >= FrameKind::kFirstSession) return Found::kNone;
            frame = *parsed;
            return Found::kFrame;
        }
        wanted = parsed->needed;  // parse_frame has bounded it by kMaxFrameBytes
    }
}

bool FrameScanner::hold(std::uint64_t offset, std::uint64_t bytes, std::uint64_t limit) {
    if (bytes > limit) return false;
    if (offset < held_at_ || offset > held_at_ + held_) held_ = 0;
    const auto skip = held_ == 0 ? 0 : offset - held_at_;
    const auto kept = held_ - skip;
    if (kept >= bytes) return true;

    if (kept != 0) std::memmove(buffer_.data(), buffer_.data() + skip, kept);
    held_at_ = offset;
    held_ = kept;
    const auto target = std::min<std::uint64_t>(limit, std::max<std::uint64_t>(bytes, kReadAheadBytes));
    if (buffer_.size() < target) buffer_.resize(target);
    const auto got = read_some(segment_->fd(), std::span(buffer_).subspan(kept, target - kept), offset + kept);
    if (!got) {
        error_ = got.error();
        return false;
    }
    held_ += *got;
    return held_ >= bytes;
}

}  // namespace tdfs

#include <algorithm>

#include "common/resync/answers.hpp"
#include "proto/path.hpp"

namespace tdfs {

RangeAnswer::RangeAnswer(int fd, RangeRequest request) : fd_(fd), request_(std::move(request)) {}

Unreadable RangeAnswer::unreadable(Errno e) const {
    return "the master cannot read " + printable(request_.path) + ": " + e.text();
}

Answer<std::optional<RangePart>> RangeAnswer::next() {
    if (fd_ < 0) return std::optional<RangePart>();
    while (sent_ == parts_.size()) {
        const auto more = read_block();
        if (!more) return Unexpected<Unreadable>(more.error());
        if (!*more) return std::optional<RangePart>();
    }
    RangePart part = std::move(parts_[sent_++]);
    // A hole reaches over as many blocks as it likes; data fill a message.
    while (part.data.size() + kResyncBlockBytes <= kMaxRangePartBytes) {
        if (sent_ == parts_.size()) {
            const auto more = read_block();
            if (!more) return Unexpected<Unreadable>(more.error());
            if (!*more) break;
            if (parts_.empty()) continue;
        }
        RangePart& following = parts_[sent_];
        if (following.offset != part.offset + part.hole_bytes + part.data.size()) break;
        if ((following.hole_bytes != 0) != (part.hole_bytes != 0)) break;
        part.hole_bytes += following.hole_bytes;
        part.data.insert(part.data.end(), following.data.begin(), following.data.end());
        ++sent_;
    }
    return std::optional<RangePart>(std::move(part));
}

// Fills parts_ from the next block: nothing where the sink has the same. False: no more blocks.
Answer<bool> RangeAnswer::read_block() {
    parts_.clear();
    sent_ = 0;
    if (!reader_) {
        const auto info = stat_fd(fd_);
        if (!info) return Unexpected<Unreadable>(unreadable(info.error()));
        const auto wanted = request_.offset + std::uint64_t{request_.blocks} * kResyncBlockBytes;
        reader_.emplace(fd_, request_.offset, std::max(request_.offset, std::min(info->size, wanted)));
    }
    BlockReader::Block block;
    const auto more = reader_->next(block);
    if (!more) return Unexpected<Unreadable>(unreadable(more.error()));
    if (!*more) return false;
    const auto index = (block.offset - request_.offset) / kResyncBlockBytes;
    if (index < request_.hashes.size()) {
        const auto& [low, high] = request_.hashes[index];
        if (block.hash == BlockHash{low, high}) return true;
    }
    std::size_t used = 0;
    for (const auto& e : block.extents) {
        RangePart part;
        part.offset = e.offset;
        if (e.data) {
            const auto bytes = block.bytes.subspan(used, e.length);
            part.data.assign(bytes.begin(), bytes.end());
            used += e.length;
        } else {
            part.hole_bytes = e.length;
        }
        parts_.push_back(std::move(part));
    }
    return true;
}

Answer<RangeEnd> RangeAnswer::end() const {
    RangeEnd end;
    end.gone = fd_ < 0;
    if (fd_ < 0) return end;
    const auto info = stat_fd(fd_);
    if (!info) return Unexpected<Unreadable>(unreadable(info.error()));
    end.size = info->size;
    return end;
}

}  // namespace tdfs

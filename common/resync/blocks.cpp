#include "common/resync/blocks.hpp"

#include <fcntl.h>

#include <algorithm>

namespace tdfs {

SysResult<std::vector<Extent>> extents_of(int fd, std::uint64_t begin, std::uint64_t end) {
    std::vector<Extent> out;
    std::uint64_t reached = begin;
    const auto done = visit_extents(fd, begin, end, [&](std::uint64_t offset, std::uint64_t length, bool data) {
        if (length != 0) out.push_back({offset, length, data});
        reached = offset + length;
        return true;
    });
    if (!done) return fail(done.error());
    if (reached < end) out.push_back({reached, end - reached, false});
    return out;
}

SysResult<void> make_hole(int fd, std::uint64_t offset, std::uint64_t length) {
    constexpr std::uint64_t kPage = 4096;
    // To the end of the last page, so that a hole at the end of a file leaves no block.
    const auto end = (offset + length + kPage - 1) / kPage * kPage;
    if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                    static_cast<off_t>(end - offset)) == 0) {
        return {};
    }
    if (errno != EOPNOTSUPP) return fail_last();
    const Bytes zeros(std::min<std::uint64_t>(length, kResyncBlockBytes));
    for (std::uint64_t at = 0; at < length; at += zeros.size()) {
        const auto piece = ByteView(zeros).first(std::min<std::size_t>(zeros.size(), length - at));
        if (const auto done = write_all(fd, piece, offset + at); !done) return fail(done.error());
    }
    return {};
}

BlockReader::BlockReader(int fd, std::uint64_t begin, std::uint64_t end)
    : fd_(fd), at_(begin), end_(end), extents_(extents_of(fd, begin, end)) {}

BlockHash BlockReader::content_hash(const Block& block) {
    if (block.extents.size() == 1 && block.extents.front().data) return block.hash;
    Bytes all(block.extents.empty() ? 0 : block.extents.back().end() - block.offset);
    std::size_t at = 0;
    for (const auto& extent : block.extents) {
        if (!extent.data) continue;
        std::copy_n(block.bytes.begin() + static_cast<std::ptrdiff_t>(at), extent.length,
                    all.begin() + static_cast<std::ptrdiff_t>(extent.offset - block.offset));
        at += extent.length;
    }
    return block_hash(all);
}

SysResult<bool> BlockReader::next(Block& block) {
    if (!extents_) return fail(extents_.error());
    if (at_ >= end_) return false;
    const auto block_end = std::min(end_, at_ + kResyncBlockBytes);
    block.offset = at_;
    block.extents.clear();
    buffer_.clear();
    while (index_ < extents_->size()) {
        const Extent& e = (*extents_)[index_];
        const auto begin = std::max(e.offset, at_);
        const auto end = std::min(e.end(), block_end);
        if (begin < end) {
            block.extents.push_back({begin, end - begin, e.data});
            if (e.data) {
                const auto before = buffer_.size();
                buffer_.resize(before + (end - begin));
                const auto got = read_some(fd_, std::span(buffer_).subspan(before), begin);
                if (!got) return fail(got.error());
            }
        }
        if (e.end() > block_end) break;
        ++index_;
    }
    at_ = block_end;
    block.bytes = buffer_;
    if (block.extents.size() == 1 && block.extents.front().data) {
        block.hash = block_hash(buffer_);
        return true;
    }
    Bytes map;
    ByteWriter out(map);
    for (const auto& e : block.extents) {
        out.put(static_cast<std::uint32_t>(e.offset - block.offset));
        out.put(static_cast<std::uint32_t>(e.length));
        out.put(static_cast<std::uint8_t>(e.data));
    }
    const auto holes = block_hash(map);
    const auto bytes = block_hash(buffer_);
    block.hash = {holes.low * 3 + bytes.low, holes.high * 3 + bytes.high};
    return true;
}

}  // namespace tdfs

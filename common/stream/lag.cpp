#include "common/stream/lag.hpp"

#include <algorithm>
#include <array>

#include "common/os/file.hpp"
#include "proto/frame.hpp"

namespace tdfs {

Lag measure_lag(Journal& journal, Lsn from, Lsn to) {
    Lag lag;
    Lsn at = from;
    std::array<std::byte, 16384> chunk;
    bool large_frames = false;  // then a look at each header alone reads less
    std::uint32_t reads = 0;
    while (at < to && reads < kLagReads) {
        const auto view = journal.view(at);
        if (!view || view->bytes < kFrameHeaderBytes) break;
        const Lsn end = std::min(to, at + view->bytes);
        const Lsn begin = at;
        while (at < end && reads++ < kLagReads) {
            const std::size_t want = std::min<std::uint64_t>(large_frames ? kFrameHeaderBytes : chunk.size(), end - at);
            const auto got = read_some(view->fd, std::span(chunk).first(want), view->file_offset + (at - begin));
            if (!got || *got < kFrameHeaderBytes) return lag;
            std::uint64_t offset = 0;
            std::uint32_t frames = 0;
            for (; offset + kFrameHeaderBytes <= *got; ++frames) {
                const auto header = decode_header(ByteView(chunk).subspan(offset, kFrameHeaderBytes));
                if (!header) return lag;
                if (lag.oldest_time_ns == 0) lag.oldest_time_ns = header->time_ns;
                if (header->kind == FrameKind::kRecord) ++lag.records;
                offset += header->frame_bytes();
            }
            at = at + offset;
            large_frames = frames <= 1;
        }
    }
    if (at < to && at > from) {
        lag.exact = false;
        const double mean = static_cast<double>(lag.records) / static_cast<double>(at - from);
        lag.records += static_cast<std::uint64_t>(mean * static_cast<double>(to - at));
    }
    return lag;
}

}  // namespace tdfs

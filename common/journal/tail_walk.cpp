#include "common/journal/tail_walk.hpp"

#include <algorithm>

#include "common/journal/frame_scanner.hpp"

namespace tdfs {

namespace {

// The slot that names exactly this place, if all of it lies before `end`.
const InFlight* slot_at(const std::vector<InFlight>& slots, Lsn at, Lsn end) {
    const auto slot =
        std::lower_bound(slots.begin(), slots.end(), at, [](const InFlight& s, Lsn lsn) { return s.lsn < lsn; });
    if (slot == slots.end() || slot->lsn != at || slot->frame_bytes > end - at) return nullptr;
    return &*slot;
}

}  // namespace

Result<TailWalk, std::string> walk_to_tail(const std::vector<SegmentFile>& files, Lsn from,
                                           const std::vector<InFlight>& slots,
                                           const std::function<SysResult<Bytes>(const InFlight&)>& resolve) {
    TailWalk walk;
    walk.tail = from;
    FrameScanner scanner;
    for (std::size_t i = 0; i < files.size(); ++i) {
        const auto& file = files[i];
        const bool last = i + 1 == files.size();
        const auto end = last ? file.end() : files[i + 1].first();
        while (walk.tail < end) {
            const auto limit = end - walk.tail;
            FrameView frame;
            const auto found = scanner.look(file.segment, file.segment->offset_of(walk.tail), limit, frame);
            if (found == FrameScanner::Found::kError) {
                return Unexpected("journal segment " + segment_name(file.first()) + ": cannot be read at lsn " +
                                  std::to_string(walk.tail.bytes()) + ": " + scanner.error().text());
            }
            if (found == FrameScanner::Found::kFrame) {
                walk.last_time_ns = std::max(walk.last_time_ns, frame.header.time_ns);
                walk.tail = walk.tail + frame.bytes.size();
            } else if (const auto* slot = slot_at(slots, walk.tail, end)) {
                walk.last_time_ns = std::max(walk.last_time_ns, slot->time_ns);
                auto payload = resolve(*slot);
                if (!payload) {
                    return Unexpected("journal: what was in flight at lsn " + std::to_string(slot->lsn.bytes()) +
                                      " cannot be looked at: " + payload.error().text());
                }
                walk.places.push_back({file.segment, slot->lsn, slot->frame_bytes, slot->time_ns, std::move(*payload)});
                walk.tail = slot->lsn + slot->frame_bytes;
            } else {
                return walk;
            }
        }
    }
    return walk;
}

}  // namespace tdfs

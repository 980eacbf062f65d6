// Finding the end of a journal that was not closed in order.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/journal/inflight_table.hpp"
#include "common/journal/segment_files.hpp"

namespace tdfs {

// A place that a killed process had set aside, and what goes there.
struct ResolvedPlace {
    std::shared_ptr<const Segment> segment;
    Lsn lsn;
    std::uint32_t frame_bytes = 0;
    std::uint64_t time_ns = 0;
    Bytes payload;
};

struct TailWalk {
    Lsn tail;  // after the last frame or place
    std::uint64_t last_time_ns = 0;
    std::vector<ResolvedPlace> places;  // by lsn
};

// Goes from `from`, which is the beginning of a frame, frame by frame: a frame that verifies stands; where none does, one of
// `slots` (sorted by lsn) may name the place, and `resolve` says what goes there; where none does either, the
// journal ends. Reads only. An error names the segment that cannot be read.
Result<TailWalk, std::string> walk_to_tail(const std::vector<SegmentFile>& files, Lsn from,
                                           const std::vector<InFlight>& slots,
                                           const std::function<SysResult<Bytes>(const InFlight&)>& resolve);

}  // namespace tdfs

// The segment files that an opening journal finds, made into one unbroken stretch.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/journal/segment.hpp"

namespace tdfs {

struct SegmentFile {
    std::shared_ptr<const Segment> segment;
    std::uint64_t bytes = 0;  // length of the file; frames may end before
    [[nodiscard]] Lsn first() const { return segment->first(); }
    [[nodiscard]] Lsn end() const { return first() + bytes; }
};

// All of them, by lsn. Names that are none of the journal's are let be and noted. An error says which file and why.
Result<std::vector<SegmentFile>, std::string> find_segments(int dir, std::vector<std::string>& notes);

// Where a file ends before the next one begins, one side of the gap cannot stay. The older side goes: it is only there for
// peers that are behind, and they resync. But what stands beyond a gap after a power loss, neither side known to be durable
// (`durable`: all before it is), is of writes that came to the disk out of order: then the younger side goes.
// Removes the files and notes it.
SysResult<void> close_gaps(int dir, std::vector<SegmentFile>& files, std::optional<Lsn> power_loss_durable,
                           std::vector<std::string>& notes);

// One past the last byte in [from, to) that is not zero, or `from`.
SysResult<std::uint64_t> end_of_content(int fd, std::uint64_t from, std::uint64_t to);

}  // namespace tdfs

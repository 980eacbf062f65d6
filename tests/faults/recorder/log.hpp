// What a recorded disk keeps of its life: one entry for each write and flush, in the order it answered them.
#pragma once

#include <cstdint>

namespace tdfs::faults {

constexpr char kDiskName[] = "disk";          // the one file of the recorder's mount
constexpr std::uint32_t kSectorBytes = 4096;  // what a disk writes whole or not at all
constexpr std::uint32_t kFlush = 0xffffffff;  // in place of a write's length

// In the log followed by the bytes of the write.
struct LogEntry {
    std::uint64_t time_ns;  // of the monotonic clock, before the answer
    std::uint64_t offset;
    std::uint32_t bytes;  // or kFlush: what was written before is on the disk
    std::uint32_t reserved;
};
static_assert(sizeof(LogEntry) == 24);

}  // namespace tdfs::faults

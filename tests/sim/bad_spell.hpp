// A time in which a machine's disk fails.
#pragma once

#include <cstdint>

namespace tdfs::sim {

// Until it is over, calls of these kinds answer EIO: one in so many of them, so that some go through in between, or all.
struct BadSpell {
    enum Kind : unsigned {
        kSyncs = 1,    // fsync, fdatasync, syncfs, msync
        kContent = 2,  // writing, truncating, allocating, copying
        kNames = 4,    // opening, making, moving, removing; attributes
        kReads = 8,    // of content, of directories, of what a name stands for
    };
    std::uint64_t until = 0;
    unsigned kinds = 0;
    std::uint64_t one_in = 1;
};

}  // namespace tdfs::sim

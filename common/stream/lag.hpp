// How much a replica has still to apply, read from the journal itself.
#pragma once

#include "common/journal/journal.hpp"

namespace tdfs {

struct Lag {
    std::uint64_t records = 0;         // record frames between `from` and `to`
    std::uint64_t oldest_time_ns = 0;  // wall clock of the first frame there; 0: none, or not in the journal any more
    bool exact = true;                 // false: counted in part, the rest estimated from the mean size so far
};

// Walks frame headers, at most kLagReads small reads, so that asking for status costs milliseconds at the worst.
inline constexpr std::uint32_t kLagReads = 1024;
[[nodiscard]] Lag measure_lag(Journal& journal, Lsn from, Lsn to);

}  // namespace tdfs

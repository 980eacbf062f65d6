// The decisions of the handshake, as pure functions: may these two talk, and how does the replica catch up.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "proto/session.hpp"

namespace tdfs {

// What the master has.
struct JournalSpan {
    std::span<const EpochStart> history;  // oldest first, the last one is the current epoch
    Lsn oldest;
    Lsn tail;
};

// Resume by position, or resync by state; there is no third way.
struct CatchUp {
    std::optional<Position> resume;
    std::string reason;  // of the resync, where it is one
    bool full = false;   // it has to compare contents: what the replica holds may be other than its times and sizes say
    std::optional<Lsn> since;  // only of what was recorded from here on
};
[[nodiscard]] CatchUp catch_up(const JournalSpan& master, const Welcome& replica);

// Whether the replica's position lies on the master's history (whatever the journal still holds); the text says why
// not.
[[nodiscard]] std::optional<std::string> forked(const JournalSpan& master, Epoch epoch, Lsn received);

// Words for the other side's operator, or nothing where the two fit.
[[nodiscard]] std::optional<std::string> refuse_replica(const VolumeId& volume, const Welcome& replica);
[[nodiscard]] std::optional<std::string> refuse_master(const Hello& master);

}  // namespace tdfs

// The clock of a session, as a value that is handed in, and how long things may take.
#pragma once

#include <cstdint>

#include "common/os/file.hpp"

namespace tdfs {

struct Instant {
    std::uint64_t monotonic_ns = 0;  // everything is timed by it
    std::uint64_t wall_ns = 0;       // only stamped into messages
    static Instant now() { return {tdfs::monotonic_ns(), tdfs::wall_clock_ns()}; }
};

inline constexpr std::uint64_t kMillisecondNs = 1'000'000;
inline constexpr std::uint64_t kSecondNs = 1000 * kMillisecondNs;

// Ranges of the journal that hold small changes begin no sooner after one another.
inline constexpr std::uint64_t kGatherNs = kMillisecondNs / 2;
// Both sides say something at least this often, also when there is nothing to say.
inline constexpr std::uint64_t kHeartbeatNs = kSecondNs;
// Where a session's thread has said nothing for so long, another says something for it (pulse.hpp).
inline constexpr std::uint64_t kBusyNs = 2 * kHeartbeatNs;
// A link on which nothing came for so long, while there was somebody to hear it, is taken for dead. In a resync one side may read
// nothing for that long while the other says nothing new; a machine that is gone is then noticed by TCP's keepalive.
inline constexpr std::uint64_t kSilenceNs = 10 * kSecondNs;
inline constexpr std::uint64_t kResyncSilenceNs = 300 * kSecondNs;
// A resync is given a turn this often also when nothing comes (writers may be held, and that has a limit).
inline constexpr std::uint64_t kResyncTickNs = 100 * kMillisecondNs;
// An inspection is given a turn this often also when nothing comes (a rate to keep, a replay to wait for).
inline constexpr std::uint64_t kInspectTickNs = 10 * kMillisecondNs;
// While the replica does not accept frames it is asked again this often.
inline constexpr std::uint64_t kAcceptRetryNs = 100 * kMillisecondNs;

}  // namespace tdfs

// What two daemons say to each other beside journal frames. Each message is one frame with lsn 0. See FORMAT.md.
//
//   master                         slave
//   Hello               ------>
//                       <------    Welcome                 (or Refuse, then both close)
//   Resume              ------>                            then journal frames and Heartbeats; Acks come back
//   or ResyncStart      ------>                            then proto/resync.hpp, until Resume
//
// In mid-stream, at frame boundaries, also proto/inspect.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/bytes.hpp"
#include "proto/frame.hpp"
#include "proto/ids.hpp"

namespace tdfs {

inline constexpr std::uint32_t kProtocolVersion = 1;
inline constexpr std::size_t kMaxEpochs = 4096;
inline constexpr std::size_t kMaxTextBytes = 4096;  // names of machines, reasons, error texts

enum class MessageKind : std::uint8_t {
    kHello = 64,
    kWelcome = 65,
    kRefuse = 66,
    kResume = 67,
    kHeartbeat = 68,
    kAck = 69,
    kResyncStart = 80,
    kList = 81,
    kListPart = 82,
    kStat = 83,
    kStatReply = 84,
    kRange = 85,
    kRangePart = 86,
    kRangeEnd = 87,
    kXattrs = 88,
    kXattrsReply = 89,
    kRoundDone = 90,
    kTouched = 91,
    kProgress = 92,
    kInspectStart = 96,
    kInspectStop = 97,
    kHashes = 98,
    kHashesReply = 99,
    kLook = 100,
    kLooked = 101,
    kCannot = 102,
    kFound = 103,
    kInspectProgress = 104,
    kInspectDone = 105,
};

// One step of the volume's history: from first_lsn on, until the next entry, the journal was written in `epoch`.
struct EpochStart {
    Epoch epoch;
    Lsn first_lsn;
    friend bool operator==(const EpochStart&, const EpochStart&) = default;
};

struct Hello {
    std::uint32_t version = kProtocolVersion;
    std::uint64_t format = 0;  // format_hash() of proto/record.hpp
    std::uint64_t features = 0;
    VolumeId volume;
    std::vector<EpochStart> history;  // oldest first, at most kMaxEpochs
    Lsn oldest;                       // first byte still in the journal
    Lsn tail;
    std::string name;  // of the sender's machine and directory, for people
};

enum class ReplicaState : std::uint8_t {
    kFresh = 0,      // no volume yet: the first master that comes owns it
    kStreaming = 1,  // an exact prefix of the master's history
    kResyncing = 2,  // a resync was begun and is not through: never a prefix until then
    kStalled = 3,    // streaming, but a record cannot be applied; `error` says which and why
    kDamaged = 4,    // spool or state cannot be used any more: needs a resync
    kPaused = 5,     // streaming, but nothing is applied until somebody says so; `error` says why and since when
};
[[nodiscard]] const char* to_text(ReplicaState s);

struct Welcome {
    std::uint32_t version = kProtocolVersion;
    std::uint64_t format = 0;
    std::uint64_t features = 0;
    VolumeId volume;  // all zero: fresh
    Epoch epoch;      // of `received`
    Lsn received;     // resume from here
    Lsn durable;      // kDamaged: what was recorded later may be lost here, all else is not (0: nobody knows);
                      // kResyncing: the tail of the master's journal when that resync began
    Lsn applied;
    ReplicaState state = ReplicaState::kFresh;
    std::string name;
};

struct Refuse {
    std::string reason;  // words a person can act on
};

struct Resume {
    Position from;  // journal frames follow from here
};

struct Heartbeat {
    Lsn tail;  // of the master's journal; its wall clock is in the frame's header. From a slave: 0, and it is just busy
};

struct Ack {
    Lsn received;
    Lsn durable;
    Lsn applied;
    ReplicaState state = ReplicaState::kStreaming;
    std::uint64_t applied_time_ns = 0;  // time_ns of the last frame applied
    std::string error;
    std::uint64_t soft_errors = 0;  // records that went well when they were tried again
    std::uint64_t hard_errors = 0;  // records that did not apply, and differences that were found
};

#define TDFS_MESSAGE(Type)                     \
    [[nodiscard]] Bytes encode(const Type& m); \
    [[nodiscard]] Result<Type, DecodeError> decode_##Type(ByteView payload)
// encode() gives the payload; message() below the whole frame. Text is cut at kMaxTextBytes, a history to its newest
// kMaxEpochs steps; all else above its bound is a broken invariant. decode_*() refuses lengths and counts above their
// bounds before it takes memory, invalid paths and names, a history out of order, and bytes left over.
//
// decode_Hello and decode_Welcome look at version, format and features first. Where these are another daemon's and the
// rest cannot be read, only they are filled in, so that the peer can be refused in words: compare them before all else.
TDFS_MESSAGE(Hello);
TDFS_MESSAGE(Welcome);
TDFS_MESSAGE(Refuse);
TDFS_MESSAGE(Resume);
TDFS_MESSAGE(Heartbeat);
TDFS_MESSAGE(Ack);

// A complete session frame, stamped with the wall clock `now_ns`.
[[nodiscard]] Bytes message(MessageKind kind, ByteView payload, std::uint64_t now_ns, bool compress = false);

}  // namespace tdfs

// Inspection: is a replica what it should be? In mid-stream the slave asks, the master answers in the order of the
// questions; journal frames go on in between.
//
//   master: InspectStart, InspectStop       (or the slave begins by itself)
//   slave:  List, Stat (proto/resync.hpp)   master: ListPart*, StatReply
//   slave:  Hashes                          master: HashesReply
//   slave:  Look                            master: Looked: how these paths were at exactly that lsn
//   slave:  Findings*, InspectProgress*, InspectDone
//
// What List, Stat and Hashes show may be of another moment than what the slave has: they only tell where to look. What
// counts is Look: the master answers it while writers are held, at lsn H, before a byte of the journal beyond H goes
// out, and the slave compares (or heals) when its replay stands at exactly H.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/resync.hpp"

namespace tdfs {

inline constexpr std::size_t kMaxInspectPaths = 4096;             // of one InspectStart
inline constexpr std::size_t kMaxInspectPathBytes = 1024 * 1024;  // all of them together
inline constexpr std::size_t kMaxHashesBlocks = 32;               // of one Hashes: 4 MiB
inline constexpr std::size_t kMaxLookItems = 256;
inline constexpr std::size_t kMaxLookBlocks = 64;         // of one item
inline constexpr std::size_t kMaxDetailedBlocks = 7;      // of one item with details: less than 1 MiB
inline constexpr std::size_t kMaxLookBytes = 768 * 1024;  // of a Looked: after that the next item is left out
inline constexpr std::size_t kMaxFindings = 256;          // of one Findings

struct InspectStart {
    std::uint32_t id = 0;            // 0: a slave's own repair, whose paths need not exist anywhere
    bool full = false;               // content too; else where size and time are equal it is taken for equal
    bool repair = false;             // heal what differs
    std::uint64_t rate = 0;          // bytes a second; 0: no limit
    std::vector<std::string> paths;  // none: the whole tree
};
struct InspectStop {
    std::uint32_t id = 0;
};

// Hashes of the blocks of a regular file, from `offset` (a multiple of kResyncBlockBytes) on.
struct HashesRequest {
    std::string path;
    ObjectId object;
    std::uint64_t offset = 0;
    std::uint32_t blocks = 0;
};
struct HashesReply {
    bool gone = false;                                            // another object, or none
    std::uint64_t size = 0;                                       // of the file at this moment
    std::vector<std::pair<std::uint64_t, std::uint64_t>> hashes;  // BlockHash low, high; fewer at the file's end
};

struct LookItem {
    std::string path;
    bool details = false;               // also extended attributes and the content of `blocks`
    std::vector<std::uint64_t> blocks;  // offsets, multiples of kResyncBlockBytes
};
struct Look {
    std::vector<LookItem> items;
};
struct LookedItem {
    std::optional<Entry> entry;  // nothing: no such name
    bool settled = false;        // its time is on its way to the replicas no more
    // Of the blocks that were asked for, as far as it is a regular file.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> hashes;
    // With details.
    std::vector<RangePart> parts;
    bool too_many_xattrs = false;  // more than a message holds: none are shown
    std::vector<std::pair<std::string, Bytes>> xattrs;
};
struct Looked {
    Lsn lsn;
    bool held = false;              // false: writers could not be held for so long: nothing is shown, ask for less
    std::vector<LookedItem> items;  // of the first items, as many as fit, at least one
};

// In the place of an answer: what was asked about cannot be read.
struct Cannot {
    std::string text;
};

// How an object differs; several may come together.
namespace difference {
enum Kind : std::uint32_t {
    kMissing = 1u << 0,  // the master has it, the replica does not
    kExtra = 1u << 1,    // the other way round
    kType = 1u << 2,
    kTarget = 1u << 3,  // of a symlink
    kDevice = 1u << 4,  // numbers of a device
    kSize = 1u << 5,
    kContent = 1u << 6,
    kMode = 1u << 7,
    kOwner = 1u << 8,
    kMtime = 1u << 9,
    kXattr = 1u << 10,
    kLinks = 1u << 11,       // names that are one object here and several there
    kUnreadable = 1u << 12,  // nobody knows
};
inline constexpr std::uint32_t kAll = (1u << 13) - 1;
}  // namespace difference
// "content, mode"
[[nodiscard]] std::string difference_text(std::uint32_t kinds);

struct Finding {
    std::string path;
    std::uint32_t kinds = 0;
    bool healed = false;
    std::string detail;  // why it could not be read or healed
};
struct Findings {
    std::uint32_t id = 0;
    std::vector<Finding> findings;
};

struct InspectCounts {
    std::uint64_t files = 0;  // objects compared
    std::uint64_t bytes = 0;  // of content compared
    std::uint64_t differences = 0;
    std::uint64_t healed = 0;
    std::uint64_t unreadable = 0;
};
struct InspectProgress {
    std::uint32_t id = 0;
    InspectCounts counts;
    std::uint32_t share = 0;  // of the whole, in millionths; an estimate
    std::string at;           // the directory being compared
};
struct InspectDone {
    std::uint32_t id = 0;
    InspectCounts counts;
    std::string error;  // not empty: it could not be done
};

TDFS_MESSAGE(InspectStart);
TDFS_MESSAGE(InspectStop);
TDFS_MESSAGE(HashesRequest);
TDFS_MESSAGE(HashesReply);
TDFS_MESSAGE(Look);
TDFS_MESSAGE(Looked);
TDFS_MESSAGE(Cannot);
TDFS_MESSAGE(Findings);
TDFS_MESSAGE(InspectProgress);
TDFS_MESSAGE(InspectDone);

}  // namespace tdfs

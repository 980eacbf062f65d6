// Resync: state instead of changes. The slave (sink) asks, the master (source) answers in the order of the questions.
//
//   sink: List, Stat, Range, Xattrs  ...   source: ListPart*, StatReply, RangePart* RangeEnd, XattrsReply
//   sink: RoundDone                        source: Touched (what changed meanwhile; `last`: writers are held)
//   sink: RoundDone after `last`           source: Resume (writers go on; the stream starts at exactly that lsn)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/session.hpp"

namespace tdfs {

inline constexpr std::size_t kResyncBlockBytes = 128 * 1024;
inline constexpr std::size_t kMaxRangeBlocks = 512;           // of one Range request: 64 MiB
inline constexpr std::size_t kMaxListPartBytes = 256 * 1024;  // a part may exceed it by one entry
inline constexpr std::size_t kMaxRangePartBytes = 1024 * 1024;
inline constexpr std::size_t kMaxTouchedBytes = 1024 * 1024;  // one Touched message; more follow with more = true
inline constexpr std::size_t kMaxTouchedRanges = 1024;        // of one path; encode() drops more: all of it changed
inline constexpr std::size_t kMaxXattrsBytes = 1024 * 1024;   // all names and values of one object

// One object as its directory shows it. `name` is one component, or empty for the object that was asked for itself.
struct Entry {
    std::string name;
    ObjectId object;
    std::uint32_t links = 0;
    std::uint32_t mode = 0;  // full st_mode
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint64_t rdev = 0;
    std::uint64_t size = 0;  // regular files
    std::int64_t mtime_ns = 0;
    std::uint64_t xattr_hash = 0;  // 0: no extended attributes
    std::string target;            // symlinks
};

// What a resync is about, as the master decides.
struct ResyncScope {
    std::string reason;
    bool full = false;         // contents may differ anywhere where size and time agree ...
    std::optional<Lsn> since;  // ... or in what was recorded from here on: compared by content, whatever it looks like
};

// Not `full`: contents are compared where size or mtime differ, and of what changed since the Welcome's `durable`, where a
// damaged replica had told one.
struct ResyncStart {
    std::string reason;
    bool full = false;  // compare contents by block hashes even where size and mtime agree
    Lsn tail;           // of the master's journal now
};

struct ListRequest {
    std::string path;
};
// All entries of a directory, sorted by the bytes of their names, in one or more parts. `absent`: no such directory
// (any more), or not a directory.
struct ListPart {
    bool absent = false;
    bool last = false;
    std::vector<Entry> entries;
};

struct StatRequest {
    std::string path;
};
struct StatReply {
    std::optional<Entry> entry;  // nothing: no such object
};

// Content of a regular file from offset (a multiple of kResyncBlockBytes) over at most kMaxRangeBlocks blocks.
// `hashes` are those of the sink's own blocks from offset on (fewer or none: it has nothing there); blocks whose hash
// agrees are not sent.
struct RangeRequest {
    std::string path;
    ObjectId object;  // what the sink takes it for: something else under that name is `gone`
    std::uint64_t offset = 0;
    std::uint32_t blocks = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> hashes;  // BlockHash low, high
};
struct RangePart {
    std::uint64_t offset = 0;
    std::uint64_t hole_bytes = 0;  // not 0: a hole of that length, no data
    Bytes data;
};
struct RangeEnd {
    bool gone = false;       // the file is not there any more, or is no regular file now
    std::uint64_t size = 0;  // of the file at this moment
};

struct XattrsRequest {
    std::string path;
    ObjectId object;  // as in RangeRequest
};
struct XattrsReply {
    bool gone = false;
    bool too_many = false;  // more than kMaxXattrsBytes: none are shown, the sink leaves what is there
    std::vector<std::pair<std::string, Bytes>> xattrs;  // sorted by name, ACLs included
};

struct RoundDone {};  // its payload is empty

// One path that changed since the round before began.
struct TouchedPath {
    std::string path;
    // What was changed under that name (all zero: only the name itself was). Its other names are touched too, also
    // where `path` is gone by now.
    ObjectId object;
    bool deep = false;     // a directory whose whole subtree is to be compared (it was renamed, or replaced)
    bool content = false;  // the file's content changed: size and mtime are not to be trusted
    // With content: the byte ranges that changed, where that is known (else empty: all of it).
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;  // offset, length
};
struct Touched {
    bool more = false;   // another Touched message of the same round follows
    bool last = false;   // writers are held now: after this round the trees are equal
    bool links = false;  // too much changed to name objects: every object known under several names is touched
    std::vector<TouchedPath> paths;
};

// From the sink, for status on the master.
struct Progress {
    std::uint64_t files_done = 0;
    std::uint64_t files_total = 0;  // found so far
    std::uint64_t bytes_done = 0;
    std::uint64_t bytes_total = 0;
    bool counting = false;  // totals still grow
    std::uint32_t round = 0;
};

TDFS_MESSAGE(ResyncStart);
TDFS_MESSAGE(ListRequest);
TDFS_MESSAGE(ListPart);
TDFS_MESSAGE(StatRequest);
TDFS_MESSAGE(StatReply);
TDFS_MESSAGE(RangeRequest);
TDFS_MESSAGE(RangePart);
TDFS_MESSAGE(RangeEnd);
TDFS_MESSAGE(XattrsRequest);
TDFS_MESSAGE(XattrsReply);
TDFS_MESSAGE(Touched);
TDFS_MESSAGE(Progress);

}  // namespace tdfs

// Records: one change each, with all that replay needs. Encoded as the payload of a kRecord frame. See FORMAT.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "proto/bytes.hpp"
#include "proto/ids.hpp"
#include "proto/path.hpp"

namespace tdfs {

inline constexpr std::size_t kMaxXattrNameBytes = 255;
inline constexpr std::size_t kMaxXattrValueBytes = 64 * 1024;
inline constexpr std::size_t kMaxWriteBytes = 1024 * 1024;  // data of one write record
inline constexpr std::size_t kMaxSymlinkBytes = 4096;

// Views point into the bytes a record was decoded from, or into what the encoder's caller holds. Paths are relative
// to the root (proto/path.hpp); a path beneath kStagePath names an object that has no place in the tree yet.
// Times are ns since 1970 (signed).

// A new object, as it stood right after its creation: full st_mode (type and permissions, after umask and ACLs).
// For kind create: mode says which of regular file, directory, symlink, fifo, socket, device.
struct CreateRecord {
    ObjectId object;
    std::string_view path;
    std::uint32_t mode = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint64_t rdev = 0;
    std::int64_t mtime_ns = 0;
    ByteView target;  // symlinks only
};
struct LinkRecord {
    ObjectId object;
    std::string_view path;      // an existing name
    std::string_view new_path;  // the one that is added
};
struct UnlinkRecord {  // everything but directories
    ObjectId object;
    std::string_view path;
};
struct RmdirRecord {
    ObjectId object;
    std::string_view path;
};
struct RenameRecord {
    ObjectId object;    // what had `path`
    ObjectId replaced;  // what had `new_path` (all zero: nothing)
    std::string_view path;
    std::string_view new_path;
    bool exchange = false;
};
struct WriteRecord {
    ObjectId object;
    std::string_view path;
    std::uint64_t offset = 0;
    ByteView data;
};
struct FallocateRecord {
    ObjectId object;
    std::string_view path;
    std::uint32_t mode = 0;  // FALLOC_FL_*
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};
struct CopyRangeRecord {
    ObjectId object;  // the destination
    std::string_view from_path;
    std::string_view path;
    std::uint64_t from_offset = 0;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;  // what was copied
};
// Chmod, chown, truncate, utimens, alone or as one call made them, and the settled modification time of an object.
// Applied in the order size, owner, mode, mtime.
struct AttributesRecord {
    static constexpr std::uint32_t kMode = 1, kUid = 2, kGid = 4, kSize = 8, kMtime = 16, kSettled = 32, kAll = 63;
    ObjectId object;
    std::string_view path;
    std::uint32_t valid = 0;  // which of the fields; kSettled marks a times record that no program asked for
    std::uint32_t mode = 0;   // permission bits (07777)
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint64_t size = 0;
    std::int64_t mtime_ns = 0;
};
struct SetXattrRecord {
    ObjectId object;
    std::string_view path;
    std::string_view name;
    ByteView value;
    static constexpr std::uint32_t kAnyMode = 0xffffffff;  // not looked at
    std::uint32_t mode = 0;                                // permission bits afterwards (a POSIX ACL changes them)
};
struct RemoveXattrRecord {
    ObjectId object;
    std::string_view path;
    std::string_view name;
};
// An fsync happened here, or the first start after a reboot: replicas make what they hold durable soon.
struct SyncRecord {};

using Record =
    std::variant<CreateRecord, LinkRecord, UnlinkRecord, RmdirRecord, RenameRecord, WriteRecord, FallocateRecord,
                 CopyRangeRecord, AttributesRecord, SetXattrRecord, RemoveXattrRecord, SyncRecord>;

// The first byte of an encoded record.
enum class RecordKind : std::uint8_t {
    kCreate = 1,
    kLink = 2,
    kUnlink = 3,
    kRmdir = 4,
    kRename = 5,
    kWrite = 6,
    kFallocate = 7,
    kCopyRange = 8,
    kAttributes = 9,
    kSetXattr = 10,
    kRemoveXattr = 11,
    kSync = 12,
};
[[nodiscard]] RecordKind kind_of(const Record& r);

// Appends the encoding to `out`. Views must be within their bounds (checked: broken invariant). The encoded size
// depends only on the lengths of paths, names, values and data, so that results can be filled in after the space has
// been reserved. In a write record the data are the last bytes, and nothing before them tells how many they are: a
// write that came out short is the same payload, cut.
void encode_record(const Record& r, Bytes& out);
// The same for a write, without its data (which the caller appends or passes as a second piece).
void encode_write_head(const WriteRecord& r, Bytes& out);

// Refuses unknown kinds, paths that is_replicated_path refuses, invalid names, lengths over their bounds, ranges no
// file can have, and bytes left over. Copies nothing: the record's views point into `payload`.
[[nodiscard]] Result<Record, DecodeError> decode_record(ByteView payload);

// One readable line: "rename a/b -> c (replaces)". Bytes that are not printable are escaped.
[[nodiscard]] std::string to_text(const Record& r);

// Identifies the record and session definitions; peers whose hashes differ do not talk.
[[nodiscard]] std::uint64_t format_hash();

}  // namespace tdfs

#include "proto/resync.hpp"

#include <algorithm>

#include "proto/codec.hpp"
#include "proto/layout.hpp"
#include "proto/object_codec.hpp"

namespace tdfs {

// Hashed into format_hash() and quoted in FORMAT.md: change it with the functions below.
std::string_view resync_layout() {
    return "resync: one message per frame\n"
           "  resync_start=80: reason:text full:flag tail:lsn\n"
           "  list=81: path\n"
           "  list_part=82: absent:flag last:flag entries:list(entry)\n"
           "  stat=83: path\n"
           "  stat_reply=84: present:flag entry (only where present)\n"
           "  range=85: path object offset:u64 blocks:u32 hashes:list(low:u64 high:u64)\n"
           "  range_part=86: offset:u64 hole_bytes:u64 data:rest\n"
           "  range_end=87: gone:flag size:u64\n"
           "  xattrs=88: path object\n"
           "  xattrs_reply=89: gone:flag too_many:flag xattrs:list(name value:u32+bytes)\n"
           "  round_done=90:\n"
           "  touched=91: more:flag last:flag links:flag\n"
           "    paths:list(path object deep:flag content:flag ranges:list(offset:u64 length:u64))\n"
           "  progress=92: files_done:u64 files_total:u64 bytes_done:u64 bytes_total:u64 counting:flag round:u32\n"
           "  entry: name object links:u32 mode:u32 uid:u32 gid:u32 rdev:u64 size:u64 mtime:i64 xattr_hash:u64\n"
           "    target:u16+bytes\n"
           "  blocks of 131072 bytes, hashed by XXH3-128; blocks and hashes <= 512; data <= 1048576;\n"
           "  xattrs together <= 1048576; ranges <= 1024\n";
}

namespace {

// What the smallest element of each list takes.
constexpr std::size_t kLeastTouchedBytes = 24;
// Lists without a bound of their own are bounded by the frame they stand in.
constexpr std::size_t kMaxEntries = kMaxPayloadBytes / kLeastEntryBytes;
constexpr std::size_t kMaxTouchedPaths = kMaxPayloadBytes / kLeastTouchedBytes;

}  // namespace

template <class C>
static void fields(C& c, typename C::template Value<ResyncStart>& m) {
    c.text(m.reason);
    c.flag(m.full);
    c.lsn(m.tail);
}

template <class C>
static void fields(C& c, typename C::template Value<ListRequest>& m) {
    c.path(m.path);
}

template <class C>
static void fields(C& c, typename C::template Value<ListPart>& m) {
    c.flag(m.absent);
    c.flag(m.last);
    c.count(m.entries, kMaxEntries, kLeastEntryBytes);
    const std::string* before = nullptr;
    for (auto& entry : m.entries) {
        fields(c, entry);
        c.require(!before || *before < entry.name, "entries out of order");
        before = &entry.name;
    }
}

template <class C>
static void fields(C& c, typename C::template Value<StatRequest>& m) {
    c.path(m.path);
}

template <class C>
static void fields(C& c, typename C::template Value<StatReply>& m) {
    bool present = m.entry.has_value();
    c.flag(present);
    if constexpr (std::is_same_v<C, Decoder>) {
        if (present) m.entry.emplace();
    }
    if (present) fields(c, *m.entry);
}

template <class C>
static void fields(C& c, typename C::template Value<RangeRequest>& m) {
    c.path(m.path);
    c.object(m.object);
    c.number(m.offset);
    c.number(m.blocks);
    pairs(c, m.hashes, kMaxRangeBlocks);
    c.require(m.offset % kResyncBlockBytes == 0, "range that does not begin with a block");
    c.require(m.blocks <= kMaxRangeBlocks && m.hashes.size() <= m.blocks, "range too long");
    c.require(range_fits(m.offset, m.blocks * kResyncBlockBytes), kBeyond);
}

template <class C>
static void fields(C& c, typename C::template Value<RangePart>& m) {
    c.number(m.offset);
    c.number(m.hole_bytes);
    c.rest(m.data, kMaxRangePartBytes);
    c.require(m.hole_bytes == 0 || m.data.empty(), "hole with data");
    c.require(range_fits(m.offset, m.hole_bytes) && range_fits(m.offset, m.data.size()), kBeyond);
}

template <class C>
static void fields(C& c, typename C::template Value<RangeEnd>& m) {
    c.flag(m.gone);
    c.number(m.size);
    c.require(m.size <= kMaxFileBytes, kBeyond);
}

template <class C>
static void fields(C& c, typename C::template Value<XattrsRequest>& m) {
    c.path(m.path);
    c.object(m.object);
}

template <class C>
static void fields(C& c, typename C::template Value<XattrsReply>& m) {
    c.flag(m.gone);
    c.flag(m.too_many);
    xattr_list(c, m.xattrs);
}

template <class C>
static void fields(C& c, typename C::template Value<TouchedPath>& m) {
    c.path(m.path);
    c.object(m.object);
    c.flag(m.deep);
    c.flag(m.content);
    pairs(c, m.ranges, kMaxTouchedRanges);
    for (const auto& [offset, length] : m.ranges) c.require(range_fits(offset, length), kBeyond);
}

template <class C>
static void fields(C& c, typename C::template Value<Touched>& m) {
    c.flag(m.more);
    c.flag(m.last);
    c.flag(m.links);
    c.count(m.paths, kMaxTouchedPaths, kLeastTouchedBytes);
    for (auto& path : m.paths) fields(c, path);
}

template <class C>
static void fields(C& c, typename C::template Value<Progress>& m) {
    c.number(m.files_done);
    c.number(m.files_total);
    c.number(m.bytes_done);
    c.number(m.bytes_total);
    c.flag(m.counting);
    c.number(m.round);
}

static bool too_many_ranges(const TouchedPath& path) { return path.ranges.size() > kMaxTouchedRanges; }

Bytes encode(const ResyncStart& m) { return encode_fields(m); }
Bytes encode(const ListRequest& m) { return encode_fields(m); }
Bytes encode(const ListPart& m) { return encode_fields(m); }
Bytes encode(const StatRequest& m) { return encode_fields(m); }
Bytes encode(const StatReply& m) { return encode_fields(m); }
Bytes encode(const RangeRequest& m) { return encode_fields(m); }
Bytes encode(const RangePart& m) { return encode_fields(m); }
Bytes encode(const RangeEnd& m) { return encode_fields(m); }
Bytes encode(const XattrsRequest& m) { return encode_fields(m); }
Bytes encode(const XattrsReply& m) { return encode_fields(m); }
Bytes encode(const Progress& m) { return encode_fields(m); }

Bytes encode(const Touched& m) {
    if (std::none_of(m.paths.begin(), m.paths.end(), too_many_ranges)) return encode_fields(m);
    Touched coarser = m;
    for (auto& path : coarser.paths) {
        if (too_many_ranges(path)) path.ranges.clear();
    }
    return encode_fields(coarser);
}

Result<ResyncStart, DecodeError> decode_ResyncStart(ByteView p) { return decode_fields<ResyncStart>(p); }
Result<ListRequest, DecodeError> decode_ListRequest(ByteView p) { return decode_fields<ListRequest>(p); }
Result<ListPart, DecodeError> decode_ListPart(ByteView p) { return decode_fields<ListPart>(p); }
Result<StatRequest, DecodeError> decode_StatRequest(ByteView p) { return decode_fields<StatRequest>(p); }
Result<StatReply, DecodeError> decode_StatReply(ByteView p) { return decode_fields<StatReply>(p); }
Result<RangeRequest, DecodeError> decode_RangeRequest(ByteView p) { return decode_fields<RangeRequest>(p); }
Result<RangePart, DecodeError> decode_RangePart(ByteView p) { return decode_fields<RangePart>(p); }
Result<RangeEnd, DecodeError> decode_RangeEnd(ByteView p) { return decode_fields<RangeEnd>(p); }
Result<XattrsRequest, DecodeError> decode_XattrsRequest(ByteView p) { return decode_fields<XattrsRequest>(p); }
Result<XattrsReply, DecodeError> decode_XattrsReply(ByteView p) { return decode_fields<XattrsReply>(p); }
Result<Touched, DecodeError> decode_Touched(ByteView p) { return decode_fields<Touched>(p); }
Result<Progress, DecodeError> decode_Progress(ByteView p) { return decode_fields<Progress>(p); }

}  // namespace tdfs

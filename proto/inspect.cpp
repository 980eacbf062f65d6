#include "proto/inspect.hpp"

#include <array>

#include "proto/codec.hpp"
#include "proto/layout.hpp"
#include "proto/object_codec.hpp"

namespace tdfs {

// Hashed into format_hash() and quoted in FORMAT.md: change it with the functions below.
std::string_view inspect_layout() {
    return "inspect: one message per frame, in mid-stream\n"
           "  inspect_start=96: id:u32 full:flag repair:flag rate:u64 paths:list(path)\n"
           "  inspect_stop=97: id:u32\n"
           "  hashes=98: path object offset:u64 blocks:u32\n"
           "  hashes_reply=99: gone:flag size:u64 hashes:list(low:u64 high:u64)\n"
           "  look=100: items:list(path details:flag blocks:list(offset:u64))\n"
           "  looked=101: lsn held:flag items:list(present:flag entry (only where present) settled:flag\n"
           "    hashes:list(low:u64 high:u64) parts:list(offset:u64 hole_bytes:u64 data:u32+bytes)\n"
           "    too_many_xattrs:flag xattrs:list(name value:u32+bytes))\n"
           "  cannot=102: text\n"
           "  found=103: id:u32 findings:list(path kinds:u32 healed:flag detail:text)\n"
           "  inspect_progress=104: id:u32 counts share:u32 at:text\n"
           "  inspect_done=105: id:u32 counts error:text\n"
           "  counts: files:u64 bytes:u64 differences:u64 healed:u64 unreadable:u64\n"
           "  kinds: missing=1 extra=2 type=4 target=8 device=16 size=32 content=64 mode=128 owner=256 mtime=512\n"
           "    xattr=1024 links=2048 unreadable=4096\n"
           "  paths <= 4096; blocks of hashes <= 32; items <= 256, each with blocks <= 64, with details <= 7;\n"
           "  findings <= 256; xattrs together <= 1048576\n";
}

namespace {

constexpr std::size_t kLeastPathBytes = 2;
constexpr std::size_t kLeastLookItemBytes = 7;
constexpr std::size_t kLeastLookedItemBytes = 15;
constexpr std::size_t kLeastPartBytes = 20;
constexpr std::size_t kLeastFindingBytes = 9;
constexpr std::size_t kOffsetBytes = 8;
// Of one item: a block may be a hole, data, and so on in turn, page by page.
constexpr std::size_t kMaxParts = kMaxDetailedBlocks * (kResyncBlockBytes / 512 + 1);

}  // namespace

template <class C>
static void fields(C& c, typename C::template Value<InspectStart>& m) {
    c.number(m.id);
    c.flag(m.full);
    c.flag(m.repair);
    c.number(m.rate);
    c.count(m.paths, kMaxInspectPaths, kLeastPathBytes);
    for (auto& path : m.paths) c.path(path);
}

template <class C>
static void fields(C& c, typename C::template Value<InspectStop>& m) {
    c.number(m.id);
}

template <class C>
static void fields(C& c, typename C::template Value<HashesRequest>& m) {
    c.path(m.path);
    c.object(m.object);
    c.number(m.offset);
    c.number(m.blocks);
    c.require(m.offset % kResyncBlockBytes == 0, "range that does not begin with a block");
    c.require(m.blocks <= kMaxHashesBlocks, "range too long");
    c.require(range_fits(m.offset, m.blocks * kResyncBlockBytes), kBeyond);
}

template <class C>
static void fields(C& c, typename C::template Value<HashesReply>& m) {
    c.flag(m.gone);
    c.number(m.size);
    pairs(c, m.hashes, kMaxHashesBlocks);
    c.require(m.size <= kMaxFileBytes, kBeyond);
}

template <class C>
static void fields(C& c, typename C::template Value<Look>& m) {
    c.count(m.items, kMaxLookItems, kLeastLookItemBytes);
    for (auto& item : m.items) {
        c.path(item.path);
        c.flag(item.details);
        c.count(item.blocks, item.details ? kMaxDetailedBlocks : kMaxLookBlocks, kOffsetBytes);
        for (auto& offset : item.blocks) {
            c.number(offset);
            c.require(offset % kResyncBlockBytes == 0, "range that does not begin with a block");
            c.require(range_fits(offset, kResyncBlockBytes), kBeyond);
        }
    }
}

template <class C>
static void fields(C& c, typename C::template Value<LookedItem>& m) {
    bool present = m.entry.has_value();
    c.flag(present);
    if constexpr (std::is_same_v<C, Decoder>) {
        if (present) m.entry.emplace();
    }
    if (present) fields(c, *m.entry);
    c.flag(m.settled);
    pairs(c, m.hashes, kMaxLookBlocks);
    c.count(m.parts, kMaxParts, kLeastPartBytes);
    for (auto& part : m.parts) {
        c.number(part.offset);
        c.number(part.hole_bytes);
        c.long_bytes(part.data, kResyncBlockBytes);
        c.require(part.hole_bytes == 0 || part.data.empty(), "hole with data");
        c.require(range_fits(part.offset, part.hole_bytes) && range_fits(part.offset, part.data.size()), kBeyond);
    }
    c.flag(m.too_many_xattrs);
    xattr_list(c, m.xattrs);
}

template <class C>
static void fields(C& c, typename C::template Value<Looked>& m) {
    c.lsn(m.lsn);
    c.flag(m.held);
    c.count(m.items, kMaxLookItems, kLeastLookedItemBytes);
    for (auto& item : m.items) fields(c, item);
}

template <class C>
static void fields(C& c, typename C::template Value<Cannot>& m) {
    c.text(m.text);
}

template <class C>
static void fields(C& c, typename C::template Value<Findings>& m) {
    c.number(m.id);
    c.count(m.findings, kMaxFindings, kLeastFindingBytes);
    for (auto& finding : m.findings) {
        c.path(finding.path);
        c.number(finding.kinds);
        c.flag(finding.healed);
        c.text(finding.detail);
        c.require((finding.kinds & ~difference::kAll) == 0, "a number that stands for nothing");
    }
}

template <class C>
static void counts(C& c, typename C::template Value<InspectCounts>& m) {
    c.number(m.files);
    c.number(m.bytes);
    c.number(m.differences);
    c.number(m.healed);
    c.number(m.unreadable);
}

template <class C>
static void fields(C& c, typename C::template Value<InspectProgress>& m) {
    c.number(m.id);
    counts(c, m.counts);
    c.number(m.share);
    c.text(m.at);
}

template <class C>
static void fields(C& c, typename C::template Value<InspectDone>& m) {
    c.number(m.id);
    counts(c, m.counts);
    c.text(m.error);
}

std::string difference_text(std::uint32_t kinds) {
    static constexpr std::array kNames{"missing", "extra", "type",  "target", "device", "size",      "content",
                                       "mode",    "owner", "mtime", "xattr",  "links",  "unreadable"};
    std::string text;
    for (std::size_t i = 0; i < kNames.size(); ++i) {
        if ((kinds & (1u << i)) == 0) continue;
        if (!text.empty()) text += ", ";
        text += kNames[i];
    }
    return text;
}

Bytes encode(const InspectStart& m) { return encode_fields(m); }
Bytes encode(const InspectStop& m) { return encode_fields(m); }
Bytes encode(const HashesRequest& m) { return encode_fields(m); }
Bytes encode(const HashesReply& m) { return encode_fields(m); }
Bytes encode(const Look& m) { return encode_fields(m); }
Bytes encode(const Looked& m) { return encode_fields(m); }
Bytes encode(const Cannot& m) { return encode_fields(m); }
Bytes encode(const Findings& m) { return encode_fields(m); }
Bytes encode(const InspectProgress& m) { return encode_fields(m); }
Bytes encode(const InspectDone& m) { return encode_fields(m); }

Result<InspectStart, DecodeError> decode_InspectStart(ByteView p) { return decode_fields<InspectStart>(p); }
Result<InspectStop, DecodeError> decode_InspectStop(ByteView p) { return decode_fields<InspectStop>(p); }
Result<HashesRequest, DecodeError> decode_HashesRequest(ByteView p) { return decode_fields<HashesRequest>(p); }
Result<HashesReply, DecodeError> decode_HashesReply(ByteView p) { return decode_fields<HashesReply>(p); }
Result<Look, DecodeError> decode_Look(ByteView p) { return decode_fields<Look>(p); }
Result<Looked, DecodeError> decode_Looked(ByteView p) { return decode_fields<Looked>(p); }
Result<Cannot, DecodeError> decode_Cannot(ByteView p) { return decode_fields<Cannot>(p); }
Result<Findings, DecodeError> decode_Findings(ByteView p) { return decode_fields<Findings>(p); }
Result<InspectProgress, DecodeError> decode_InspectProgress(ByteView p) { return decode_fields<InspectProgress>(p); }
Result<InspectDone, DecodeError> decode_InspectDone(ByteView p) { return decode_fields<InspectDone>(p); }

}  // namespace tdfs

#include "proto/frame.hpp"

#include "proto/checksum.hpp"
#include "proto/layout.hpp"
#include "proto/lzf.hpp"

namespace tdfs {

// Hashed into format_hash() and quoted in FORMAT.md: change it with the code below.
std::string_view frame_layout() {
    return "frame: magic=TDFS kind:u8 flags:u8 0:u16 lsn:u64 time_ns:u64 payload_bytes:u32 raw_bytes:u32 "
           "pad_bytes:u32\n"
           "  header_sum:u32 checksum:u64 payload pad\n"
           "  header_sum = low 32 bits of XXH3-64 of all before it; checksum = XXH3-64 of all before it and payload\n"
           "  flags: 1=LZF; payload+pad <= 2097152\n"
           "  kinds: record=1 void=2 session>=64\n";
}

namespace {

constexpr std::size_t kHeaderSumAt = 36;
constexpr std::size_t kChecksumAt = kHeaderSumAt + sizeof(std::uint32_t);
static_assert(kChecksumAt + sizeof(std::uint64_t) == kFrameHeaderBytes);

// Why no frame may have such a header; null for a good one.
const char* complaint(const FrameHeader& h) {
    if (h.flags & ~kFlagLzf) return "frame with unknown flags";
    if (std::uint64_t{h.payload_bytes} + h.pad_bytes > kMaxPayloadBytes) return "frame too long";
    if (h.raw_bytes > kMaxPayloadBytes) return "frame too long when expanded";
    if (h.flags & kFlagLzf) {
        if (h.payload_bytes == 0 || h.raw_bytes <= h.payload_bytes) return "compressed frame that is not smaller";
    } else if (h.raw_bytes != h.payload_bytes) {
        return "frame whose two lengths differ";
    }
    if (h.kind == FrameKind::kRecord) return nullptr;
    if (h.kind == FrameKind::kVoid) return h.payload_bytes == 0 ? nullptr : "void frame with a payload";
    if (h.kind < FrameKind::kFirstSession) return "frame of unknown kind";
    return h.lsn == Lsn() && h.pad_bytes == 0 ? nullptr : "session frame with a place in the journal";
}

// Writes numbers one after the other to a place of known size.
struct Cursor {
    std::byte* at;
    template <std::unsigned_integral T>
    void put(T v) {
        std::memcpy(at, &v, sizeof v);
        at += sizeof v;
    }
};

std::uint32_t header_sum_of(ByteView header) {
    return static_cast<std::uint32_t>(checksum(header.first(kHeaderSumAt)));
}

std::uint64_t checksum_of(ByteView header, std::span<const ByteView> payload) {
    Checksum sum;
    sum.add(header.first(kChecksumAt));
    for (const auto piece : payload) sum.add(piece);
    return sum.value();
}

bool all_zero(ByteView b) {
    if (b.empty()) return true;
    return b.front() == std::byte{0} && std::memcmp(b.data(), b.data() + 1, b.size() - 1) == 0;
}

bool matches(const FrameHeader& h, ByteView header, ByteView payload, ByteView pad) {
    return payload.size() == h.payload_bytes && pad.size() == h.pad_bytes && all_zero(pad) &&
           checksum_of(header, {&payload, 1}) == h.checksum;
}

}  // namespace

HeaderBytes encode_header(const FrameHeader& h, std::span<const ByteView> payload) {
    std::size_t payload_bytes = 0;
    for (const auto piece : payload) payload_bytes += piece.size();
    TDFS_INVARIANT(payload_bytes == h.payload_bytes, "a frame's header and payload differ in length");
    TDFS_INVARIANT(complaint(h) == nullptr, complaint(h));
    HeaderBytes header;
    Cursor out{header.data()};
    out.put(kFrameMagic);
    out.put(static_cast<std::uint8_t>(h.kind));
    out.put(h.flags);
    out.put(std::uint16_t{0});
    out.put(h.lsn.bytes());
    out.put(h.time_ns);
    out.put(h.payload_bytes);
    out.put(h.raw_bytes);
    out.put(h.pad_bytes);
    out.put(header_sum_of(header));
    TDFS_INVARIANT(out.at == header.data() + kChecksumAt, "the frame header has another layout");
    out.put(checksum_of(header, payload));
    return header;
}

Result<FrameHeader, DecodeError> decode_header(ByteView first_48_bytes) {
    if (first_48_bytes.size() < kFrameHeaderBytes) return bad("frame header cut off");
    ByteReader in(first_48_bytes.first(kFrameHeaderBytes));
    if (in.get<std::uint32_t>() != kFrameMagic) return bad("no frame begins here");
    FrameHeader h;
    h.kind = static_cast<FrameKind>(in.get<std::uint8_t>());
    h.flags = in.get<std::uint8_t>();
    const auto unused = in.get<std::uint16_t>();
    h.lsn = Lsn(in.get<std::uint64_t>());
    h.time_ns = in.get<std::uint64_t>();
    h.payload_bytes = in.get<std::uint32_t>();
    h.raw_bytes = in.get<std::uint32_t>();
    h.pad_bytes = in.get<std::uint32_t>();
    if (in.get<std::uint32_t>() != header_sum_of(first_48_bytes)) return bad("frame header is damaged");
    h.checksum = in.get<std::uint64_t>();
    if (unused != 0) return bad("frame header with unknown fields");
    if (const char* what = complaint(h)) return bad(what);
    return h;
}

bool verify_frame(ByteView header, ByteView payload, ByteView pad) {
    if (header.size() != kFrameHeaderBytes) return false;
    const auto h = decode_header(header);
    return h && matches(*h, header, payload, pad);
}

Result<FrameView, DecodeError> parse_frame(ByteView bytes) {
    FrameView frame;
    if (bytes.size() < kFrameHeaderBytes) {
        frame.needed = kFrameHeaderBytes;
        return frame;
    }
    const auto h = decode_header(bytes);
    if (!h) return bad(h.error().what);
    if (bytes.size() < h->frame_bytes()) {
        frame.needed = h->frame_bytes();
        return frame;
    }
    frame.header = *h;
    frame.bytes = bytes.first(h->frame_bytes());
    frame.payload = frame.bytes.subspan(kFrameHeaderBytes, h->payload_bytes);
    const auto pad = frame.bytes.last(h->pad_bytes);
    if (!matches(*h, frame.bytes.first(kFrameHeaderBytes), frame.payload, pad)) return bad("frame checksum is wrong");
    return frame;
}

Result<ByteView, DecodeError> raw_payload(const FrameView& frame, Bytes& scratch) {
    if (!(frame.header.flags & kFlagLzf)) return frame.payload;
    const auto expanded = lzf_expand(frame.payload, frame.header.raw_bytes, scratch);
    if (!expanded) return bad(expanded.error().what);
    return ByteView(scratch);
}

Bytes make_frame(FrameKind kind, Lsn lsn, std::uint64_t time_ns, ByteView payload, bool compress) {
    TDFS_INVARIANT(payload.size() <= kMaxPayloadBytes, "a frame with too long a payload is made");
    FrameHeader h;
    h.kind = kind;
    h.raw_bytes = static_cast<std::uint32_t>(payload.size());
    h.lsn = lsn;
    h.time_ns = time_ns;
    Bytes compressed;
    ByteView stored = payload;
    if (compress && lzf_compress(payload, compressed)) {
        h.flags = kFlagLzf;
        stored = compressed;
    }
    h.payload_bytes = static_cast<std::uint32_t>(stored.size());
    const auto header = encode_header(h, {&stored, 1});
    Bytes frame;
    frame.reserve(h.frame_bytes());
    frame.insert(frame.end(), header.begin(), header.end());
    frame.insert(frame.end(), stored.begin(), stored.end());
    return frame;
}

}  // namespace tdfs

// The frame: what the journal stores and what goes over the wire, byte for byte. See FORMAT.md.
#pragma once

#include <array>
#include <cstdint>

#include "proto/bytes.hpp"
#include "proto/ids.hpp"

namespace tdfs {

// Frames below kFirstSession stand in the journal; those from there on are spoken between two daemons only, and
// have lsn 0.
enum class FrameKind : std::uint8_t {
    kRecord = 1,         // payload: one Record
    kVoid = 2,           // nothing happened here (a failed operation, a cut-off reservation); payload empty
    kFirstSession = 64,  // session messages: proto/session.hpp
};

inline constexpr std::uint32_t kFrameMagic = 0x53464454;  // "TDFS" in memory
inline constexpr std::size_t kFrameHeaderBytes = 48;
inline constexpr std::size_t kMaxPayloadBytes = 2 * 1024 * 1024;  // stored or raw
inline constexpr std::size_t kMaxFrameBytes = kFrameHeaderBytes + kMaxPayloadBytes;

inline constexpr std::uint8_t kFlagLzf = 1;  // payload is LZF of raw_bytes bytes

// payload_bytes bytes of payload and then pad_bytes zero bytes follow the header. Padding fills a reservation whose
// operation needed less than was set aside. Payload and padding together are at most kMaxPayloadBytes; a void frame has
// no payload; a session frame has neither padding nor an lsn.
struct FrameHeader {
    FrameKind kind = FrameKind::kVoid;
    std::uint8_t flags = 0;
    std::uint32_t payload_bytes = 0;
    std::uint32_t pad_bytes = 0;
    std::uint32_t raw_bytes = 0;  // payload after expansion; equals payload_bytes unless kFlagLzf
    Lsn lsn;
    std::uint64_t time_ns = 0;   // wall clock of the sender when the frame was made
    std::uint64_t checksum = 0;  // over the header before it and the payload

    [[nodiscard]] std::size_t frame_bytes() const {
        return kFrameHeaderBytes + std::size_t{payload_bytes} + std::size_t{pad_bytes};
    }
};

using HeaderBytes = std::array<std::byte, kFrameHeaderBytes>;

// Encodes `h` with the checksums computed over it and the payload pieces (h.checksum is ignored, h.payload_bytes must
// be the sum of their sizes). Takes no memory. A header that decode_header would refuse is a broken invariant.
[[nodiscard]] HeaderBytes encode_header(const FrameHeader& h, std::span<const ByteView> payload);

// Checks magic, the header's own checksum, kind, unknown flags and every length against its bound: a damaged length is
// noticed before anybody waits for so many bytes. Not the checksum that needs the payload. All session kinds pass, known or
// not. More than 48 bytes may be given; the rest is not looked at.
[[nodiscard]] Result<FrameHeader, DecodeError> decode_header(ByteView first_48_bytes);

// Whether `payload` (and zero padding `pad`) belong to the header whose encoded bytes are `header`.
[[nodiscard]] bool verify_frame(ByteView header, ByteView payload, ByteView pad);

// Decodes and verifies the whole frame at the front of `bytes`; `needed` > bytes.size() in the result means "give me
// that many bytes first" and says nothing about the frame yet (header, payload and bytes are not set).
struct FrameView {
    FrameHeader header;
    ByteView payload;  // as stored, maybe compressed
    ByteView bytes;    // the whole frame
    std::size_t needed = 0;
    [[nodiscard]] bool complete() const { return needed == 0; }
};
[[nodiscard]] Result<FrameView, DecodeError> parse_frame(ByteView bytes);

// The payload as it was before compression: `frame.payload` itself, or expanded into `scratch`.
[[nodiscard]] Result<ByteView, DecodeError> raw_payload(const FrameView& frame, Bytes& scratch);

// A complete frame in one piece (session messages, tests). Compresses when asked and when that shrinks it.
[[nodiscard]] Bytes make_frame(FrameKind kind, Lsn lsn, std::uint64_t time_ns, ByteView payload, bool compress = false);

}  // namespace tdfs

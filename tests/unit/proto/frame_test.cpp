#include "proto/frame.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/seal_header.hpp"
#include "tests/unit/proto/random_values.hpp"

using namespace tdfs;

namespace {

struct Sample {
    Bytes bytes;
    std::string payload;
    FrameHeader header;
};

Sample random_frame(test::Random& random) {
    Sample s;
    if (random.coin()) {  // in one piece
        s.payload = random.compressible(400);
        const auto kind = random.coin() ? FrameKind::kRecord : FrameKind::kFirstSession;
        const Lsn lsn(kind == FrameKind::kRecord ? random.number() : 0);
        const auto time_ns = random.number();
        s.bytes = make_frame(kind, lsn, time_ns, test::view(s.payload), random.coin());
        s.header.kind = kind;
        s.header.lsn = lsn;
        s.header.time_ns = time_ns;
        return s;
    }
    s.header.kind = random.coin() ? FrameKind::kRecord : FrameKind::kVoid;
    if (s.header.kind == FrameKind::kRecord) s.payload = random.bytes(300);
    s.header.payload_bytes = s.header.raw_bytes = static_cast<std::uint32_t>(s.payload.size());
    s.header.pad_bytes = static_cast<std::uint32_t>(random.below(100));
    s.header.lsn = Lsn(random.number());
    s.header.time_ns = random.number();
    const auto cut = random.below(s.payload.size() + 1);
    const std::array<ByteView, 2> pieces{test::view(s.payload).first(cut), test::view(s.payload).subspan(cut)};
    const auto header = encode_header(s.header, pieces);
    s.bytes = test::copy(header);
    for (const auto piece : pieces) s.bytes.insert(s.bytes.end(), piece.begin(), piece.end());
    s.bytes.resize(s.header.frame_bytes());
    return s;
}

// A good frame with one field of its header changed, as a writer would have to do it.
template <class T>
Bytes header_with(std::size_t at, T value) {
    auto bytes = make_frame(FrameKind::kRecord, Lsn(7), 8, as_bytes("payload"));
    std::memcpy(bytes.data() + at, &value, sizeof value);
    test::seal_header(bytes);
    return bytes;
}

}  // namespace

TEST_CASE("a frame comes back as it was made") {
    test::Random random;
    for (int i = 0; i < 500; ++i) {
        const auto sample = random_frame(random);
        const auto frame = parse_frame(sample.bytes);
        REQUIRE(frame);
        REQUIRE(frame->complete());
        CHECK(frame->header.kind == sample.header.kind);
        CHECK(frame->header.lsn == sample.header.lsn);
        CHECK(frame->header.time_ns == sample.header.time_ns);
        CHECK(frame->bytes.size() == sample.bytes.size());
        Bytes scratch;
        const auto raw = raw_payload(*frame, scratch);
        REQUIRE(raw);
        CHECK(as_text(*raw) == sample.payload);
    }
}

TEST_CASE("a frame is found at the front of more bytes") {
    auto bytes = make_frame(FrameKind::kRecord, Lsn(1), 2, as_bytes("first"));
    const auto first = bytes.size();
    const auto second = make_frame(FrameKind::kRecord, Lsn(3), 4, as_bytes("second"));
    bytes.insert(bytes.end(), second.begin(), second.end());
    const auto frame = parse_frame(bytes);
    REQUIRE(frame);
    CHECK(frame->bytes.size() == first);
    CHECK(as_text(frame->payload) == "first");
}

TEST_CASE("a frame cut at any byte asks for the rest") {
    test::Random random;
    for (int i = 0; i < 20; ++i) {
        const auto sample = random_frame(random);
        for (std::size_t n = 0; n < sample.bytes.size(); ++n) {
            const Bytes front(sample.bytes.begin(), sample.bytes.begin() + static_cast<std::ptrdiff_t>(n));
            const auto frame = parse_frame(front);
            REQUIRE(frame);
            REQUIRE_FALSE(frame->complete());
            CHECK(frame->needed == (n < kFrameHeaderBytes ? kFrameHeaderBytes : sample.bytes.size()));
            CHECK(decode_header(front).has_value() == (n >= kFrameHeaderBytes));
        }
    }
}

TEST_CASE("damage to any byte of a frame is noticed") {
    test::Random random;
    for (int i = 0; i < 30; ++i) {
        const auto sample = random_frame(random);
        for (std::size_t at = 0; at < sample.bytes.size(); ++at) {
            auto bytes = sample.bytes;
            bytes[at] ^= static_cast<std::byte>(1 + random.below(255));
            CAPTURE(at);
            CHECK_FALSE(parse_frame(bytes));
        }
    }
}

TEST_CASE("damage to what a header says is noticed before the rest is there") {
    test::Random random;
    const auto sample = make_frame(FrameKind::kRecord, Lsn(random.number()), random.number(), as_bytes("payload"));
    for (std::size_t bit = 0; bit < 40 * 8; ++bit) {
        auto header = sample;
        header.resize(kFrameHeaderBytes);
        header[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
        CAPTURE(bit);
        CHECK_FALSE(decode_header(header));
        CHECK_FALSE(parse_frame(header));
    }
}

TEST_CASE("verify_frame takes header, payload and padding that belong together and no others") {
    FrameHeader h;
    h.kind = FrameKind::kRecord;
    h.payload_bytes = h.raw_bytes = 7;
    h.pad_bytes = 3;
    const auto payload = as_bytes("payload");
    const auto header = encode_header(h, {&payload, 1});
    const Bytes pad(3);
    const Bytes wrong_pad{std::byte{0}, std::byte{0}, std::byte{1}};
    CHECK(verify_frame(header, payload, pad));
    CHECK_FALSE(verify_frame(header, as_bytes("PAYLOAD"), pad));
    CHECK_FALSE(verify_frame(header, payload.first(6), pad));
    CHECK_FALSE(verify_frame(header, payload, {}));
    CHECK_FALSE(verify_frame(header, payload, wrong_pad));
    CHECK_FALSE(verify_frame(ByteView(header).first(47), payload, pad));
}

TEST_CASE("a header with lengths above their bounds is refused") {
    constexpr auto kTooLong = static_cast<std::uint32_t>(kMaxPayloadBytes + 1);
    for (const std::size_t at : {24, 28, 32}) {
        CHECK_FALSE(decode_header(header_with(at, kTooLong)));
        CHECK_FALSE(decode_header(header_with(at, ~std::uint32_t{0})));
    }
    CHECK_FALSE(decode_header(header_with(32, static_cast<std::uint32_t>(kMaxPayloadBytes - 6))));
    CHECK(decode_header(header_with(32, static_cast<std::uint32_t>(kMaxPayloadBytes - 7))));
}

TEST_CASE("a header that no writer would write is refused") {
    CHECK(decode_header(header_with(4, std::uint8_t{1})));
    CHECK_FALSE(decode_header(Bytes(kFrameHeaderBytes)));            // the zeroes after a journal's tail
    CHECK_FALSE(decode_header(header_with(0, std::uint8_t{0x55})));  // magic
    CHECK_FALSE(decode_header(header_with(4, std::uint8_t{0})));     // kinds
    CHECK_FALSE(decode_header(header_with(4, std::uint8_t{3})));
    CHECK_FALSE(decode_header(header_with(4, std::uint8_t{63})));
    CHECK_FALSE(decode_header(header_with(4, std::uint8_t{2})));    // void, with payload
    CHECK_FALSE(decode_header(header_with(4, std::uint8_t{64})));   // session, with lsn
    CHECK_FALSE(decode_header(header_with(5, std::uint8_t{2})));    // flags
    CHECK_FALSE(decode_header(header_with(5, std::uint8_t{1})));    // LZF, not smaller
    CHECK_FALSE(decode_header(header_with(6, std::uint16_t{1})));   // unused
    CHECK_FALSE(decode_header(header_with(28, std::uint32_t{8})));  // two lengths
}

TEST_CASE("the largest frame can be made and read") {
    const std::string payload(kMaxPayloadBytes, 'x');
    for (const bool compress : {false, true}) {
        const auto bytes = make_frame(FrameKind::kRecord, Lsn(1), 1, test::view(payload), compress);
        const auto frame = parse_frame(bytes);
        REQUIRE(frame);
        Bytes scratch;
        const auto raw = raw_payload(*frame, scratch);
        REQUIRE(raw);
        CHECK(as_text(*raw) == payload);
        CHECK((bytes.size() < kMaxFrameBytes) == compress);
    }
}

TEST_CASE("random bytes are no frame") {
    test::Random random;
    for (int i = 0; i < 2000; ++i) {
        auto bytes = test::copy(test::view(random.bytes(200)));
        if (bytes.size() >= 8 && random.coin()) std::memcpy(bytes.data(), "TDFS\1\0\0", 8);
        const auto frame = parse_frame(bytes);
        CHECK_FALSE((frame && frame->complete()));
    }
}

#include "common/stream/frame_buffer.hpp"

#include "proto/frame.hpp"
#include "tests/unit/stream/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

// Puts in as much as fits.
std::size_t feed(FrameBuffer& buffer, ByteView bytes) {
    const auto space = buffer.space();
    const std::size_t n = std::min(space.size(), bytes.size());
    std::copy_n(bytes.begin(), n, space.begin());
    buffer.filled(n);
    return n;
}

}  // namespace

TEST_CASE("frames come out whole and in order however the bytes come in") {
    const std::uint64_t random_seed = seed();
    INFO("TDFS_SEED=" << random_seed);
    std::mt19937_64 random(random_seed);
    Bytes all;
    std::vector<Bytes> frames;
    for (int i = 0; i < 300; ++i) {
        frames.push_back(make_frame(FrameKind::kRecord, Lsn(all.size()), 0, Bytes(random() % 3000)));
        all.insert(all.end(), frames.back().begin(), frames.back().end());
    }
    FrameBuffer buffer(512, 4096);
    std::size_t next = 0;
    for (ByteView rest(all); !rest.empty();) {
        rest = rest.subspan(feed(buffer, rest.first(std::min<std::size_t>(rest.size(), 1 + random() % 2000))));
        REQUIRE(buffer.buffered() <= 4096);
        for (;;) {
            const auto frame = buffer.frame();
            REQUIRE(frame);
            if (!frame->complete()) break;
            REQUIRE(std::equal(frame->bytes.begin(), frame->bytes.end(), frames[next].begin(), frames[next].end()));
            ++next;
            buffer.consume(frame->bytes.size());
        }
    }
    REQUIRE(next == frames.size());
}

TEST_CASE("a frame above the limit is refused before memory is taken for it") {
    FrameBuffer buffer(64, 1000);
    const Bytes frame = make_frame(FrameKind::kRecord, Lsn(), 0, Bytes(1000));
    REQUIRE(feed(buffer, frame) == 64);
    REQUIRE_FALSE(buffer.frame());
    REQUIRE(buffer.buffered() == 64);
}

TEST_CASE("a frame as large as the limit passes") {
    FrameBuffer buffer(64, kMaxFrameBytes);
    const Bytes frame = make_frame(FrameKind::kRecord, Lsn(), 0, Bytes(kMaxPayloadBytes));
    for (ByteView rest(frame); !rest.empty();) {
        const std::size_t n = feed(buffer, rest);
        REQUIRE(n > 0);
        rest = rest.subspan(n);
        REQUIRE(buffer.frame());
    }
    REQUIRE(buffer.frame()->complete());
}

TEST_CASE("a full buffer of whole frames has no space until they are consumed") {
    const Bytes frame = make_frame(FrameKind::kRecord, Lsn(), 0, Bytes(52));
    FrameBuffer buffer(200, 1000);
    REQUIRE(feed(buffer, frame) == 100);
    REQUIRE(feed(buffer, frame) == 100);
    REQUIRE(buffer.frame()->complete());
    REQUIRE(buffer.frame(100)->complete());
    REQUIRE_FALSE(buffer.frame(200)->complete());
    REQUIRE(buffer.space().empty());
    buffer.consume(100);
    REQUIRE(buffer.space().size() == 100);
    REQUIRE(buffer.frame()->complete());
}

TEST_CASE("a flipped byte anywhere is noticed") {
    const Bytes frame = make_frame(FrameKind::kRecord, Lsn(5), 7, as_bytes("some payload"));
    for (std::size_t i = 0; i < frame.size(); ++i) {
        Bytes damaged = frame;
        damaged[i] ^= std::byte{4};
        FrameBuffer buffer(4096, 4096);
        feed(buffer, damaged);
        const auto parsed = buffer.frame();
        REQUIRE((!parsed || !parsed->complete()));
    }
}

#include "tests/support/catch.hpp"
#include "tests/unit/proto/allocation_meter.hpp"
#include "tests/unit/proto/random_messages.hpp"
#include "tests/unit/proto/recode.hpp"

using namespace tdfs;
using test::kAllMessages;
using test::recode;

namespace {

// What decoded lists may take in memory for each byte of a message; string and vector headers are larger than the
// lengths they are encoded as.
constexpr std::size_t kMemoryPerByte = 18;
constexpr std::size_t kSmallAllocation = 512;

Bytes with_count(std::size_t zeroes, std::uint32_t count) {
    Bytes bytes(zeroes);
    ByteWriter(bytes).put(count);
    return bytes;
}

}  // namespace

TEST_CASE("every message comes back as it was encoded") {
    test::Random random;
    for (int i = 0; i < 100; ++i) {
        for (const auto kind : kAllMessages) {
            const auto payload = test::random_message(kind, random);
            CAPTURE(int(kind));
            REQUIRE(recode(kind, payload) == payload);
        }
    }
}

TEST_CASE("a message travels in one session frame") {
    const auto payload = encode(Refuse{std::string(500, 'x')});
    for (const bool compress : {false, true}) {
        const auto bytes = message(MessageKind::kRefuse, payload, 77, compress);
        const auto frame = parse_frame(bytes);
        REQUIRE(frame);
        CHECK(static_cast<MessageKind>(frame->header.kind) == MessageKind::kRefuse);
        CHECK(frame->header.lsn == Lsn());
        CHECK(frame->header.time_ns == 77);
        Bytes scratch;
        REQUIRE(raw_payload(*frame, scratch));
        CHECK(decode_Refuse(*raw_payload(*frame, scratch))->reason == std::string(500, 'x'));
    }
}

TEST_CASE("a message cut at any byte is refused, but for a range's data") {
    test::Random random;
    for (const auto kind : kAllMessages) {
        for (int i = 0; i < 5; ++i) {
            const auto whole = test::random_message(kind, random);
            for (std::size_t n = 0; n < whole.size(); ++n) {
                const Bytes front(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
                CAPTURE(int(kind), n);
                const auto again = recode(kind, front);
                CHECK(again.has_value() == (kind == MessageKind::kRangePart && n >= 16));
            }
        }
    }
}

TEST_CASE("a message with bytes left over is refused") {
    test::Random random;
    for (const auto kind : kAllMessages) {
        auto payload = test::random_message(kind, random);
        payload.push_back(std::byte{0});
        if (kind != MessageKind::kRangePart) CHECK_FALSE(recode(kind, payload));
    }
}

TEST_CASE("a damaged message is refused or is another valid message") {
    test::Random random;
    for (int i = 0; i < 300; ++i) {
        for (const auto kind : kAllMessages) {
            const auto payload = test::damaged(test::random_message(kind, random), random);
            const auto again = recode(kind, payload);
            CAPTURE(int(kind));
            if (again && test::is_exact(kind, payload)) CHECK(*again == payload);
        }
    }
}

TEST_CASE("no message makes a decoder take more memory than its length allows") {
    test::Random random;
    for (int i = 0; i < 300; ++i) {
        for (const auto kind : kAllMessages) {
            auto payload = random.coin() ? test::damaged(test::random_message(kind, random), random)
                                         : test::copy(test::view(random.bytes(3000)));
            if (random.coin() && payload.size() > 9) std::memset(payload.data() + random.below(7), 0, 3);
            test::forget_allocations();
            (void)recode(kind, payload);
            const auto taken = test::largest_allocation_bytes();
            CAPTURE(int(kind), payload.size());
            CHECK(taken <= kMemoryPerByte * payload.size() + kSmallAllocation);
        }
    }
}

TEST_CASE("counts that the message cannot hold are refused") {
    for (const std::uint32_t count : {1U, 1000U, 0x7fffffffU, 0xffffffffU}) {
        CHECK_FALSE(decode_ListPart(with_count(2, count)));
        CHECK_FALSE(decode_RangeRequest(with_count(30, count)));
        CHECK_FALSE(decode_XattrsReply(with_count(2, count)));
        CHECK_FALSE(decode_Touched(with_count(3, count)));
    }
    CHECK(decode_ListPart(with_count(2, 0)));
}

TEST_CASE("lists above their bounds are refused even where the bytes are there") {
    RangeRequest request{"a", {}, 0, kMaxRangeBlocks, {}};
    request.hashes.resize(kMaxRangeBlocks);
    CHECK(decode_RangeRequest(encode(request)));
    request.blocks = kMaxRangeBlocks + 1;
    CHECK_FALSE(decode_RangeRequest(encode(request)));
    request.blocks = 3;
    CHECK_FALSE(decode_RangeRequest(encode(request)));

    XattrsReply reply;
    for (int i = 0; i < 15; ++i) reply.xattrs.emplace_back(std::string(1, static_cast<char>('a' + i)), Bytes(65536));
    CHECK(decode_XattrsReply(encode(reply)));
    reply.xattrs.emplace_back("z", Bytes(65536));
    CHECK_FALSE(decode_XattrsReply(encode(reply)));
}

TEST_CASE("names and paths are validated in every message") {
    for (const char* path : {"..", "/a", "a//b", ".tdfs", ".tdfs/journal"}) {
        CAPTURE(path);
        CHECK_FALSE(decode_ListRequest(encode(ListRequest{path})));
        CHECK_FALSE(decode_StatRequest(encode(StatRequest{path})));
        CHECK_FALSE(decode_RangeRequest(encode(RangeRequest{path, {}, 0, 1, {}})));
        CHECK_FALSE(decode_XattrsRequest(encode(XattrsRequest{path, {}})));
        CHECK_FALSE(decode_Touched(encode(Touched{false, false, false, {{path, {}, false, false, {}}}})));
    }
    for (const char* name : {"..", ".", "a/b"}) {
        Entry entry;
        entry.name = name;
        CHECK_FALSE(decode_StatReply(encode(StatReply{entry})));
        CHECK_FALSE(decode_ListPart(encode(ListPart{false, true, {entry}})));
    }
    CHECK(decode_StatReply(encode(StatReply{Entry()})));
    CHECK_FALSE(decode_XattrsReply(encode(XattrsReply{false, false, {{"", {}}}})));
}

TEST_CASE("entries and extended attributes must be in order and single") {
    Entry a;
    a.name = "a";
    Entry b;
    b.name = "b";
    CHECK(decode_ListPart(encode(ListPart{false, true, {a, b}})));
    CHECK_FALSE(decode_ListPart(encode(ListPart{false, true, {b, a}})));
    CHECK_FALSE(decode_ListPart(encode(ListPart{false, true, {a, a}})));
    CHECK(decode_XattrsReply(encode(XattrsReply{false, false, {{"a", {}}, {"b", {}}}})));
    CHECK_FALSE(decode_XattrsReply(encode(XattrsReply{false, false, {{"b", {}}, {"a", {}}}})));
    CHECK_FALSE(decode_XattrsReply(encode(XattrsReply{false, false, {{"a", {}}, {"a", {}}}})));
}

TEST_CASE("ranges no file can have and ranges off the blocks are refused") {
    constexpr std::uint64_t kLargest = 0x7fffffffffffffff;
    CHECK_FALSE(decode_RangeRequest(encode(RangeRequest{"a", {}, 1, 1, {}})));
    CHECK_FALSE(decode_RangeRequest(encode(RangeRequest{"a", {}, kLargest + 1, 1, {}})));
    CHECK_FALSE(decode_RangePart(encode(RangePart{kLargest, 1, {}})));
    CHECK_FALSE(decode_RangePart(encode(RangePart{kLargest, 0, Bytes(1)})));
    CHECK_FALSE(decode_RangePart(encode(RangePart{0, 1, Bytes(1)})));
    CHECK_FALSE(decode_RangeEnd(encode(RangeEnd{false, kLargest + 1})));
    CHECK_FALSE(decode_Touched(encode(Touched{false, false, false, {{"a", {}, false, true, {{kLargest, 1}}}}})));
}

TEST_CASE("a history must run forward through epochs that exist") {
    Hello hello;
    hello.format = format_hash();
    hello.history = {{Epoch(1), Lsn(0)}, {Epoch(2), Lsn(100)}, {Epoch(3), Lsn(100)}};
    CHECK(decode_Hello(encode(hello)));
    hello.history.push_back({Epoch(4), Lsn(99)});
    CHECK_FALSE(decode_Hello(encode(hello)));
    hello.history = {{Epoch(), Lsn(0)}};
    CHECK_FALSE(decode_Hello(encode(hello)));
}

TEST_CASE("a history too long for a message keeps its newest steps") {
    Hello hello;
    hello.format = format_hash();
    for (std::size_t i = 1; i <= kMaxEpochs + 5; ++i) hello.history.push_back({Epoch(i), Lsn(i)});
    const auto decoded = decode_Hello(encode(hello));
    REQUIRE(decoded);
    REQUIRE(decoded->history.size() == kMaxEpochs);
    CHECK(decoded->history.back() == hello.history.back());
}

TEST_CASE("the greeting of another version or format can be read far enough to refuse it") {
    Bytes other;
    ByteWriter writer(other);
    writer.put(std::uint32_t{kProtocolVersion + 1});
    writer.put(std::uint64_t{0x1234});
    writer.put(std::uint64_t{0});
    writer.put_bytes(as_bytes("what only the future knows"));
    const auto hello = decode_Hello(other);
    REQUIRE(hello);
    CHECK(hello->version == kProtocolVersion + 1);
    CHECK(hello->format == 0x1234);
    CHECK(hello->history.empty());
    REQUIRE(decode_Welcome(other));
    CHECK(decode_Welcome(other)->version == kProtocolVersion + 1);
    CHECK_FALSE(decode_Hello(ByteView(other).first(19)));

    auto ours = encode(Hello{kProtocolVersion, format_hash()});
    ours.push_back(std::byte{0});
    CHECK_FALSE(decode_Hello(ours));
}

TEST_CASE("text for people is cut, never refused") {
    const std::string long_text(3 * kMaxTextBytes, 'x');
    Ack ack;
    ack.error = long_text;
    CHECK(decode_Ack(encode(ack))->error.size() == kMaxTextBytes);
    CHECK(decode_Refuse(encode(Refuse{long_text}))->reason.size() == kMaxTextBytes);
}

TEST_CASE("a path touched in too many places is touched everywhere") {
    TouchedPath path{"a", {}, false, true, {}};
    path.ranges.resize(kMaxTouchedRanges);
    CHECK(decode_Touched(encode(Touched{false, false, false, {path}}))->paths[0].ranges.size() == kMaxTouchedRanges);
    path.ranges.resize(kMaxTouchedRanges + 1);
    const auto decoded = decode_Touched(encode(Touched{false, false, false, {path}}));
    REQUIRE(decoded);
    CHECK(decoded->paths[0].ranges.empty());
    CHECK(decoded->paths[0].content);
}

TEST_CASE("a look is bounded, and its blocks are whole ones") {
    Look look;
    look.items.push_back({"f", true, {0, kResyncBlockBytes}});
    CHECK(decode_Look(encode(look)));
    look.items[0].blocks[1] += 1;
    CHECK_FALSE(decode_Look(encode(look)));
    look.items[0] = {"f", false, std::vector<std::uint64_t>(kMaxLookBlocks)};
    CHECK(decode_Look(encode(look)));
    auto details = encode(look);
    details[7] = std::byte{1};  // with details so many blocks are too many
    CHECK_FALSE(decode_Look(details));
    CHECK_FALSE(decode_HashesRequest(encode(HashesRequest{"f", {}, 1, 1})));
    CHECK_FALSE(decode_HashesRequest(encode(HashesRequest{"f", {}, 0, kMaxHashesBlocks + 1})));
    CHECK_FALSE(decode_Findings(encode(Findings{1, {{"f", difference::kAll + 1, false, ""}}})));
    CHECK(difference_text(difference::kContent | difference::kMode) == "content, mode");
}

TEST_CASE("a replica's state is one of the known") {
    auto ack = encode(Ack());
    ack[24] = std::byte{6};
    CHECK_FALSE(decode_Ack(ack));
    CHECK(std::string(to_text(ReplicaState::kStreaming)) == "streaming");
}

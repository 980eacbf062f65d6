#include "proto/ids.hpp"

#include "tests/support/catch.hpp"
#include "tests/unit/proto/random_values.hpp"

using namespace tdfs;

TEST_CASE("a position survives its text") {
    test::Random random;
    for (int i = 0; i < 1000; ++i) {
        const Position p{Epoch(random.number()), Lsn(random.number())};
        const auto text = to_text(p);
        CAPTURE(text);
        const auto parsed = parse_position(text);
        REQUIRE(parsed);
        CHECK(*parsed == p);
    }
    CHECK(to_text(Position{Epoch(0xab), Lsn(4711)}) == "00000000000000ab:4711");
}

TEST_CASE("text that is no position is refused") {
    for (const char* text :
         {"", ":", "00000000000000ab", "00000000000000ab:", "00000000000000ab:-1", "ab:4711", "00000000000000ab:47 ",
          " 00000000000000ab:47", "00000000000000ag:47", "00000000000000ab:+7", "0x000000000000ab:47",
          "00000000000000ab-47", "00000000000000ab:18446744073709551616", "000000000000000ab:47"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_position(text));
    }
}

TEST_CASE("a volume id survives its text") {
    for (int i = 0; i < 100; ++i) {
        const auto id = VolumeId::random();
        REQUIRE(id.valid());
        const auto text = id.text();
        CAPTURE(text);
        REQUIRE(VolumeId::parse(text));
        CHECK(*VolumeId::parse(text) == id);
    }
    VolumeId id;
    CHECK_FALSE(id.valid());
    for (std::size_t i = 0; i < 16; ++i) id.bytes[i] = static_cast<std::byte>(i * 16 + i);
    CHECK(id.text() == "00112233-4455-6677-8899-aabbccddeeff");
    CHECK(VolumeId::parse("00112233-4455-6677-8899-AABBCCDDEEFF") == id);
}

TEST_CASE("text that is no volume id is refused") {
    for (const char* text : {"", "00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeef",
                             "00112233-4455-6677-8899-aabbccddeefff", "00112233-4455-6677-8899-aabbccddeefg",
                             "001122334-455-6677-8899-aabbccddeeff"}) {
        CAPTURE(text);
        CHECK_FALSE(VolumeId::parse(text));
    }
}

TEST_CASE("random ids differ") {
    CHECK_FALSE(VolumeId::random() == VolumeId::random());
    CHECK_FALSE(random_epoch() == random_epoch());
    CHECK(random_epoch().valid());
}

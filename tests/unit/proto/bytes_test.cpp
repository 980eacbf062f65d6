#include "proto/bytes.hpp"

#include "tests/support/catch.hpp"

using namespace tdfs;

TEST_CASE("what a writer puts a reader gets") {
    Bytes out;
    ByteWriter writer(out);
    writer.put(std::uint8_t{1});
    writer.put(std::uint16_t{0x0203});
    writer.put(std::uint64_t{0x0405060708090a0b});
    writer.put_short(as_bytes("short"));
    writer.put_long(as_bytes(""));
    CHECK(out[1] == std::byte{3});  // little-endian

    ByteReader reader(out);
    CHECK(reader.get<std::uint8_t>() == 1);
    CHECK(reader.get<std::uint16_t>() == 0x0203);
    CHECK(reader.get<std::uint64_t>() == 0x0405060708090a0b);
    CHECK(as_text(reader.get_short(5)) == "short");
    CHECK(reader.get_long(0).empty());
    CHECK(reader.at_end());
}

TEST_CASE("a reader that failed stays failed and gives nothing") {
    const Bytes three(3, std::byte{1});
    ByteReader reader(three);
    CHECK(reader.get<std::uint32_t>() == 0);
    CHECK_FALSE(reader.ok());
    CHECK(reader.get<std::uint8_t>() == 0);
    CHECK(reader.get_bytes(1).empty());
    CHECK(reader.remaining() == 0);
    CHECK_FALSE(reader.at_end());
}

TEST_CASE("a length above its limit fails even where the bytes are there") {
    Bytes out;
    ByteWriter(out).put_short(as_bytes("123456"));
    CHECK(ByteReader(out).get_short(6).size() == 6);
    ByteReader reader(out);
    CHECK(reader.get_short(5).empty());
    CHECK_FALSE(reader.ok());
}

#include "proto/checksum.hpp"

#include "tests/support/catch.hpp"
#include "tests/unit/proto/allocation_meter.hpp"
#include "tests/unit/proto/random_values.hpp"

using namespace tdfs;

TEST_CASE("checksums are XXH3 with seed 0") {
    // Given by xxhsum -H3 and -H2 for empty input.
    CHECK(checksum({}) == 0x2d06800538d394c2);
    const BlockHash empty{0x6001c324468d497f, 0x99aa06d3014798d8};
    CHECK(block_hash({}) == empty);
}

TEST_CASE("a checksum does not depend on where the bytes are cut") {
    test::Random random;
    for (int i = 0; i < 300; ++i) {
        const auto text = random.bytes(random.coin() ? 300 : 5000);
        const auto all = test::view(text);
        Checksum sum;
        for (std::size_t at = 0; at < all.size();) {
            const auto n = random.below(all.size() - at + 1);
            sum.add(all.subspan(at, n));
            at += n;
        }
        CHECK(sum.value() == checksum(all));
    }
}

TEST_CASE("a checksum takes no memory") {
    const Bytes data(1 << 20, std::byte{7});
    test::forget_allocations();
    Checksum sum;
    sum.add(data);
    const auto value = sum.value();
    const auto taken = test::largest_allocation_bytes();
    CHECK(taken == 0);
    CHECK(value == checksum(data));
}

TEST_CASE("blocks that differ in one bit hash differently") {
    test::Random random;
    for (int i = 0; i < 200; ++i) {
        const auto text = "x" + random.bytes(2000);
        auto other = text;
        other[random.below(other.size())] ^= static_cast<char>(1U << random.below(7));
        CHECK_FALSE(block_hash(test::view(text)) == block_hash(test::view(other)));
        CHECK(checksum(test::view(text)) != checksum(test::view(other)));
    }
}

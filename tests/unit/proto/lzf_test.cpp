#include "proto/lzf.hpp"

#include "tests/support/catch.hpp"
#include "tests/unit/proto/random_values.hpp"

using namespace tdfs;

TEST_CASE("what LZF compressed it expands") {
    test::Random random;
    int compressed = 0;
    for (int i = 0; i < 300; ++i) {
        const auto text = random.compressible(random.coin() ? 40 : 20000);
        Bytes small;
        Bytes large;
        if (!lzf_compress(test::view(text), small)) {
            CHECK(small.empty());
            continue;
        }
        ++compressed;
        CHECK(small.size() < text.size());
        REQUIRE(lzf_expand(small, text.size(), large));
        CHECK(as_text(large) == text);
    }
    CHECK(compressed > 0);
}

TEST_CASE("LZF says when it wins nothing") {
    Bytes out(3);
    CHECK_FALSE(lzf_compress({}, out));
    CHECK(out.empty());
    CHECK_FALSE(lzf_compress(as_bytes("a"), out));
    CHECK_FALSE(lzf_compress(as_bytes("abcdefghijklmnopqrstuvwxyz"), out));
    CHECK(out.empty());
}

TEST_CASE("LZF data that expand to another size are refused") {
    const std::string text(1000, 'a');
    Bytes small;
    Bytes large;
    REQUIRE(lzf_compress(test::view(text), small));
    for (const std::size_t size : {0, 1, 999, 1001, 100000}) {
        CHECK_FALSE(lzf_expand(small, size, large));
        CHECK(large.empty());
    }
    CHECK_FALSE(lzf_expand({}, 1, large));
}

TEST_CASE("damaged LZF data give an error or the asked size") {
    test::Random random;
    for (int i = 0; i < 2000; ++i) {
        const auto text = random.compressible(600);
        Bytes small;
        if (!lzf_compress(test::view(text), small)) continue;
        const auto bad_bytes = random.coin() ? test::damaged(small, random)
                                             : test::copy(ByteView(small).first(random.below(small.size())));
        Bytes large;
        const auto expanded = lzf_expand(bad_bytes, text.size(), large);
        CHECK(large.size() == (expanded ? text.size() : 0));
    }
}

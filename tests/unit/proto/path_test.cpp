#include "proto/path.hpp"

#include "tests/support/catch.hpp"
#include "tests/unit/proto/random_values.hpp"

using namespace tdfs;
using namespace std::string_view_literals;

TEST_CASE("a name is one component of at most 255 bytes") {
    for (const auto name : {"a"sv, "..."sv, ".a"sv, "a b"sv, "\xff\xfe"sv, "\n"sv, "-rf"sv, "*"sv}) {
        CHECK(is_valid_name(name));
    }
    for (const auto name : {""sv, "."sv, ".."sv, "a/b"sv, "/"sv, "a\0b"sv, "\0"sv}) CHECK_FALSE(is_valid_name(name));
    CHECK(is_valid_name(std::string(255, 'x')));
    CHECK_FALSE(is_valid_name(std::string(256, 'x')));
}

TEST_CASE("a path is relative and stays below the root") {
    for (const auto path : {""sv, "a"sv, "a/b"sv, "a/.b/..c"sv, "\xff/\x01"sv}) CHECK(is_valid_path(path));
    for (const auto path : {"/"sv, "/a"sv, "a/"sv, "a//b"sv, "."sv, ".."sv, "../a"sv, "a/.."sv, "a/../b"sv, "a/./b"sv,
                            "./a"sv, "a\0b"sv, "a/b\0"sv}) {
        CHECK_FALSE(is_valid_path(path));
    }
}

TEST_CASE("a path has at most kMaxPathBytes") {
    std::string path(200, 'x');
    while (path.size() + 201 <= kMaxPathBytes) path += '/' + std::string(200, 'x');
    CHECK(is_valid_path(path));
    path += '/' + std::string(kMaxPathBytes - path.size() - 1, 'y');
    REQUIRE(path.size() == kMaxPathBytes);
    CHECK(is_valid_path(path));
    CHECK_FALSE(is_valid_path(path + 'y'));
}

TEST_CASE("no record names the state directory, only what is staged in it") {
    for (const auto path : {".tdfs"sv, ".tdfs/journal"sv, ".tdfs/stage"sv, ".tdfs/stagex"sv, ".tdfs/stage/.."sv}) {
        CHECK_FALSE(is_replicated_path(path));
    }
    for (const auto path : {""sv, "a"sv, ".tdfs2"sv, "a/.tdfs"sv, ".tdfs/stage/1"sv, ".tdfs/stage/1/a"sv}) {
        CHECK(is_replicated_path(path));
    }
}

TEST_CASE("what lies within a directory is told by components, not by letters") {
    CHECK(is_within("a", ""));
    CHECK(is_within("", ""));
    CHECK(is_within("a/b", "a"));
    CHECK(is_within("a/b", "a/b"));
    CHECK_FALSE(is_within("ab", "a"));
    CHECK_FALSE(is_within("a", "a/b"));
    CHECK_FALSE(is_within("", "a"));
}

TEST_CASE("a path is its parent and its leaf joined") {
    CHECK(parent_of("a/b/c") == "a/b");
    CHECK(leaf_of("a/b/c") == "c");
    CHECK(parent_of("a").empty());
    CHECK(leaf_of("a") == "a");
    CHECK(parent_of("").empty());
    CHECK(leaf_of("").empty());
    test::Random random;
    for (int i = 0; i < 200; ++i) {
        const auto path = random.path();
        CHECK(is_valid_path(path));
        CHECK(join(parent_of(path), leaf_of(path)) == path);
        CHECK(is_within(path, parent_of(path)));
    }
}

TEST_CASE("printable shows text as it is and everything else as hex") {
    CHECK(printable("plain name.txt") == "plain name.txt");
    CHECK(printable("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9f") ==
          "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9f");
    CHECK(printable("a\nb\x1b[0m\x7f"sv) == "a\\x0ab\\x1b[0m\\x7f");
    CHECK(printable("back\\slash") == "back\\\\slash");
    CHECK(printable("\0"sv) == "\\x00");
    CHECK(printable("\xff\xc3") == "\\xff\\xc3");
    CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");                    // overlong '/'
    CHECK(printable("\xe0\x80\xaf") == "\\xe0\\x80\\xaf");           // overlong '/'
    CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");           // a surrogate
    CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond Unicode
    CHECK(printable("\xc2\x9b") == "\\xc2\\x9b");                    // a control character
    CHECK(printable("\xe2\x80\xae") == "\\xe2\\x80\\xae");           // turns the writing direction
}

TEST_CASE("printable takes any bytes and keeps names apart") {
    test::Random random;
    for (int i = 0; i < 500; ++i) {
        const auto a = random.bytes(20);
        auto b = a;
        if (b.empty()) continue;
        b[random.below(b.size())] ^= static_cast<char>(1 + random.below(255));
        CHECK(printable(a) != printable(b));
        for (const char c : printable(a)) CHECK(static_cast<unsigned char>(c) >= 0x20);
    }
}

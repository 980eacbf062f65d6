#include "common/resync/touched.hpp"

#include <linux/falloc.h>
#include <sys/stat.h>

#include <string>

#include "tests/support/catch.hpp"

using namespace tdfs;

namespace {

constexpr ObjectId kOne{1, 1};
constexpr ObjectId kTwo{2, 1};

WriteRecord write(ObjectId object, std::string_view path, std::uint64_t offset, std::size_t n) {
    static const Bytes zeros(1 << 20);
    return {object, path, offset, ByteView(zeros).first(n)};
}

CreateRecord create(ObjectId object, std::string_view path) {
    CreateRecord r;
    r.object = object;
    r.path = path;
    r.mode = S_IFREG | 0644;
    return r;
}

// "path" with d (deep), c (all content) or the ranges, and @ino where the object is named.
std::string text(TouchedPaths& touched) {
    std::string out;
    for (const auto& t : touched.take()) {
        out += "'" + t.path + "'";
        if (t.deep) out += " d";
        if (t.content && t.ranges.empty()) out += " c";
        for (const auto& [offset, length] : t.ranges)
            out += " " + std::to_string(offset) + "+" + std::to_string(length);
        if (t.object.ino != 0) out += " @" + std::to_string(t.object.ino);
        out += "; ";
    }
    return out;
}

}  // namespace

TEST_CASE("a new file touches itself with all content, and its directory") {
    TouchedPaths touched;
    touched.add(create(kOne, "a/f"));
    touched.add(write(kOne, "a/f", 0, 10));
    CHECK(text(touched) == "'a'; 'a/f' c @1; ");
    CHECK(text(touched) == "");
}

TEST_CASE("writes to a file that stays where it is are known by their ranges") {
    TouchedPaths touched;
    touched.add(write(kOne, "f", 100, 10));
    touched.add(write(kOne, "f", 110, 10));
    touched.add(write(kOne, "f", 105, 50));
    touched.add(write(kOne, "f", 1000, 1));
    CHECK(touched.content_bytes() > 0);
    CHECK(touched.content_bytes() != ~std::uint64_t{0});
    CHECK(text(touched) == "'f' 100+55 1000+1 @1; ");
}

TEST_CASE("many ranges of one file become few") {
    TouchedPaths touched;
    for (std::uint64_t i = 0; i < 10'000; ++i) touched.add(write(kOne, "f", i * 100, 1));
    const auto paths = touched.take();
    REQUIRE(paths.size() == 1);
    CHECK(paths[0].ranges.size() <= 64);
    CHECK(paths[0].ranges.front().first == 0);
    CHECK(paths[0].ranges.back().first + paths[0].ranges.back().second >= 999'901);
}

TEST_CASE("a truncation touches all that lies behind it") {
    TouchedPaths touched;
    AttributesRecord r;
    r.object = kOne;
    r.path = "f";
    r.valid = AttributesRecord::kSize;
    r.size = 77;
    touched.add(r);
    const auto paths = touched.take();
    REQUIRE(paths.size() == 1);
    REQUIRE(paths[0].ranges.size() == 1);
    CHECK(paths[0].ranges[0].first == 77);
    CHECK(paths[0].ranges[0].second > (1ull << 60));
}

TEST_CASE("attributes alone leave the content out") {
    TouchedPaths touched;
    AttributesRecord r;
    r.object = kOne;
    r.path = "f";
    r.valid = AttributesRecord::kMode | AttributesRecord::kMtime;
    touched.add(r);
    touched.add(SetXattrRecord{kTwo, "", "user.a", {}, 0});
    CHECK(text(touched) == "'' @2; 'f' @1; ");
}

TEST_CASE("a rename moves what is known beneath, and marks both names deep") {
    TouchedPaths touched;
    touched.add(write(kOne, "d/x", 5, 5));
    touched.add(write(kTwo, "d-", 5, 5));
    touched.add(RenameRecord{{9, 9}, {}, "d", "e/n", false});
    CHECK(text(touched) == "''; 'd' d; 'd-' 5+5 @2; 'e'; 'e/n' d c; 'e/n/x' 5+5 @1; ");
}

TEST_CASE("what is moved away and made anew is compared whole") {
    TouchedPaths touched;
    touched.add(RenameRecord{{9, 9}, {}, "d", "e", false});
    touched.add(create(kOne, "d"));
    CHECK(text(touched) == "''; 'd' d c; 'e' d c; ");
}

TEST_CASE("an exchange swaps what is known of both sides") {
    TouchedPaths touched;
    touched.add(write(kOne, "a/x", 1, 1));
    touched.add(write(kTwo, "b", 2, 2));
    touched.add(RenameRecord{{8, 8}, kTwo, "a", "b", true});
    CHECK(text(touched) == "''; 'a' d c @2; 'b' d c; 'b/x' 1+1 @1; ");
}

TEST_CASE("a changed object is named when its name goes away, since it may have others") {
    TouchedPaths touched;
    touched.add(write(kOne, "f", 1, 1));
    touched.add(UnlinkRecord{kOne, "f"});
    touched.add(create(kTwo, "f"));
    CHECK(text(touched) == "''; 'f' c; 'f' 1+1 @1; ");

    touched.add(write(kOne, "f", 1, 1));
    touched.add(RenameRecord{kTwo, kOne, "g", "f", false});
    CHECK(text(touched) == "''; 'f' d c; 'f' 1+1 @1; 'g' d; ");
}

TEST_CASE("an object that began under one name is not looked for when that is gone") {
    TouchedPaths touched;
    touched.add(create(kOne, "f"));
    touched.add(write(kOne, "f", 1, 1));
    SECTION("it is gone") {
        touched.add(UnlinkRecord{kOne, "f"});
        CHECK_FALSE(touched.lost_content());
        CHECK(text(touched) == "''; 'f'; ");
    }
    SECTION("it has another name") {
        touched.add(LinkRecord{kOne, "f", "g"});
        touched.add(UnlinkRecord{kOne, "f"});
        CHECK(touched.lost_content());
        CHECK(text(touched) == "''; 'f'; 'f' c @1; 'g' c; ");
    }
    SECTION("the next stretch knows nothing of its beginning") {
        static_cast<void>(text(touched));
        touched.add(write(kOne, "f", 1, 1));
        touched.add(UnlinkRecord{kOne, "f"});
        CHECK(touched.lost_content());
    }
}

TEST_CASE("both names of a new link are compared by content") {
    TouchedPaths touched;
    touched.add(LinkRecord{kOne, "a/f", "b/g"});
    CHECK(text(touched) == "'a/f' c; 'b'; 'b/g' c; ");
}

TEST_CASE("what happens under the stage is seen only once it comes into the tree") {
    TouchedPaths touched;
    touched.add(create(kOne, ".tdfs/stage/1"));
    touched.add(write(kOne, ".tdfs/stage/1", 0, 10));
    CHECK(touched.size() == 0);
    touched.add(RenameRecord{kOne, {}, ".tdfs/stage/1", "a/f", false});
    CHECK(text(touched) == "'a'; 'a/f' d c; ");
}

TEST_CASE("fallocate that moves the rest of a file touches the rest") {
    TouchedPaths touched;
    touched.add(FallocateRecord{kOne, "f", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192});
    CHECK(text(touched) == "'f' 4096+8192 @1; ");
    touched.add(FallocateRecord{kOne, "f", FALLOC_FL_COLLAPSE_RANGE, 4096, 8192});
    CHECK(touched.content_bytes() > (1ull << 60));
}

TEST_CASE("more paths than the limit become their directories") {
    TouchedPaths touched(100);
    for (int i = 0; i < 1000; ++i) touched.add(write(kOne, "a/b/" + std::to_string(i), 0, 1));
    CHECK(touched.all_links());
    CHECK(text(touched) == "'a/b' d; ");
    CHECK_FALSE(touched.all_links());

    for (int i = 0; i < 1000; ++i) touched.add(write(kOne, std::to_string(i) + "/x/y", 0, 1));
    CHECK(touched.size() <= 100);
    CHECK(touched.take().front().path == "");
}

TEST_CASE("when records are lost everything is touched") {
    TouchedPaths touched;
    touched.add(write(kOne, "f", 0, 1));
    touched.add_everything();
    CHECK(touched.all_links());
    CHECK(text(touched) == "'' d c; ");
}

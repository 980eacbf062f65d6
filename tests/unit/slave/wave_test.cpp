#include "slave/wave.hpp"

#include "tests/unit/slave/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

using Groups = std::vector<Wave::Group>;

class Waving {
  public:
    bool add(const Record& r) {
        const Bytes payload = encoded(r);
        FrameHeader header;
        header.kind = FrameKind::kRecord;
        header.lsn = at_;
        header.payload_bytes = header.raw_bytes = static_cast<std::uint32_t>(payload.size());
        if (!wave.add(header, payload)) return false;
        at_ = at_ + header.frame_bytes();
        return true;
    }
    Wave wave;

  private:
    Lsn at_;
};

RenameRecord moved(std::uint64_t ino, std::string_view from, std::string_view to, std::uint64_t replaced = 0) {
    RenameRecord r = of(ino, rename_of(from, to));
    r.replaced.ino = replaced;
    return r;
}

}  // namespace

TEST_CASE("two files in one directory go apart") {
    Waving w;
    CHECK(w.add(of(1, file_at("d/a"))));
    CHECK(w.add(of(2, file_at("d/b"))));
    CHECK(w.add(of(1, write_at("d/a", "x"))));
    CHECK(w.add(of(2, settled("d/b", 5))));
    CHECK(w.wave.groups() == Groups{{0, 2}, {1, 3}});
}

TEST_CASE("what is about one object stays together, whatever name it goes by") {
    Waving w;
    CHECK(w.add(of(1, write_at("a", "x"))));
    CHECK(w.add(of(1, write_at("other/name", "y"))));
    CHECK(w.add(of(1, unlink_of("third"))));
    CHECK(w.add(of(2, write_at("b", "y"))));
    CHECK(w.wave.groups() == Groups{{0, 1, 2}, {3}});
}

TEST_CASE("a name that is used again stays with what it was") {
    Waving w;
    CHECK(w.add(of(1, unlink_of("a"))));
    CHECK(w.add(of(2, file_at("a"))));
    CHECK(w.add(of(3, file_at("b"))));
    CHECK(w.wave.groups() == Groups{{0, 1}, {2}});
}

TEST_CASE("what lies in a new directory follows it") {
    Waving w;
    CHECK(w.add(of(1, dir_at("d"))));
    CHECK(w.add(of(2, file_at("e"))));
    CHECK(w.add(of(3, file_at("d/x"))));
    CHECK(w.add(of(4, dir_at("d/sub"))));
    CHECK(w.add(of(5, file_at("d/sub/y"))));
    CHECK(w.wave.groups() == Groups{{0, 2, 3, 4}, {1}});
}

TEST_CASE("a directory's own changes wait for all beneath it") {
    Waving w;
    CHECK(w.add(of(2, file_at("d/a"))));
    const bool is_root = GENERATE(false, true);
    const auto times = of(1, settled(is_root ? "" : "d", 5));
    SECTION("where that is one group it joins it") {
        CHECK(w.add(times));
        CHECK(w.add(of(2, write_at("d/a", "x"))));
        CHECK(w.wave.groups() == Groups{{0, 1, 2}});
    }
    SECTION("else the wave ends before it") {
        CHECK(w.add(of(3, file_at("d/b"))));
        CHECK_FALSE(w.add(times));
        CHECK(w.wave.groups() == Groups{{0}, {1}});
    }
    SECTION("also those deep below") {
        CHECK(w.add(of(3, file_at("d/sub/sub/b"))));
        CHECK_FALSE(w.add(of(1, rmdir_of("d"))));
    }
}

TEST_CASE("a rename follows all that its names had to do with, and what uses them afterwards follows it") {
    Waving w;
    CHECK(w.add(of(1, write_at("tmp", "x"))));
    CHECK(w.add(of(9, file_at("z"))));
    CHECK(w.add(moved(1, "tmp", "a", 5)));
    CHECK(w.add(of(2, file_at("tmp"))));
    CHECK(w.add(moved(2, "tmp", "a", 1)));
    CHECK(w.add(of(5, unlink_of("link-of-the-first"))));
    CHECK(w.wave.groups() == Groups{{0, 2, 3, 4, 5}, {1}});
    CHECK_FALSE(w.add(moved(9, "z", "a", 2)));
}

TEST_CASE("a directory that is moved takes along what is beneath both of its names") {
    Waving w;
    CHECK(w.add(of(2, write_at("d/f", "x"))));
    CHECK(w.add(of(3, file_at("g"))));
    CHECK(w.add(moved(1, "d", "e")));
    CHECK(w.add(of(2, write_at("e/f", "y"))));
    CHECK(w.add(of(4, file_at("d"))));
    CHECK(w.wave.groups() == Groups{{0, 2, 3, 4}, {1}});
    CHECK(w.add(of(5, file_at("e.txt"))));  // not beneath it
    CHECK(w.wave.groups().size() == 3);
}

TEST_CASE("a link ties both names and the object") {
    Waving w;
    CHECK(w.add(of(1, link_of("a", "b"))));
    CHECK(w.add(of(7, file_at("c"))));
    CHECK(w.add(of(2, unlink_of("b"))));
    CHECK(w.add(of(1, write_at("elsewhere", "x"))));
    CHECK(w.wave.groups() == Groups{{0, 2, 3}, {1}});
}

TEST_CASE("a record that would join two groups ends the wave, and the next begins with it") {
    Waving w;
    CHECK(w.add(of(1, file_at("a"))));
    CHECK(w.add(of(2, file_at("b"))));
    CHECK_FALSE(w.add(moved(1, "a", "b", 2)));
    CHECK(w.wave.items().size() == 2);
    w.wave.clear();
    CHECK(w.wave.empty());
    CHECK(w.add(moved(1, "a", "b", 2)));
    CHECK(w.wave.groups() == Groups{{0}});
}

TEST_CASE("some records are applied alone") {
    Waving w;
    CHECK(w.add(of(1, file_at("a"))));
    CHECK_FALSE(w.add(SyncRecord{}));
    CopyRangeRecord copy;
    copy.object.ino = 5;
    copy.from_path = "x";
    copy.path = "y";
    copy.length = 1;
    CHECK_FALSE(w.add(copy));
    CHECK_FALSE(w.add(of(6, exchange_of("x", "y"))));
    CHECK_FALSE(w.add(file_at("of-nothing-known")));
    FrameHeader header;
    CHECK_FALSE(w.wave.add(header, Bytes(10, std::byte{0x7f})));
    CHECK(w.wave.items().size() == 1);
}

TEST_CASE("a wave is bounded in records and bytes") {
    Waving w;
    SECTION("records") {
        for (std::size_t i = 0; i < Wave::kMostRecords; ++i) REQUIRE(w.add(of(i + 1, file_at(std::to_string(i)))));
    }
    SECTION("bytes") {
        const std::string data(kMaxWriteBytes, 'x');
        for (std::size_t bytes = 0; bytes < Wave::kMostBytes; bytes += data.size()) {
            REQUIRE(w.add(of(1, write_at("f", data, bytes))));
        }
    }
    CHECK_FALSE(w.add(of(1'000'000, file_at("one-more"))));
}

#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "common/journal/commit_order.hpp"
#include "common/journal/marks.hpp"
#include "common/journal/slot_pool.hpp"
#include "tests/unit/journal/support.hpp"

namespace tdfs::test {

TEST_CASE("segment names are sixteen lower-case hex digits") {
    CHECK(segment_name(Lsn(0)) == "0000000000000000.seg");
    CHECK(segment_name(Lsn(0xabcdef)) == "0000000000abcdef.seg");
    CHECK(segment_name(Lsn(kMaxSegmentFirst)) == "4000000000000000.seg");
    for (const std::uint64_t first : {0ull, 1ull, 0xabcdefull, 1ull << 40, 1ull << 62}) {
        CHECK(parse_segment_name(segment_name(Lsn(first))) == Lsn(first));
    }
}

TEST_CASE("other names are no segments") {
    for (const char* name :
         {"", ".seg", "0.seg", "000000000000000.seg", "00000000000000000.seg", "0000000000ABCDEF.seg",
          "000000000000000g.seg", "0000000000000000.SEG", "0000000000000000.seg~", "-000000000000001.seg",
          "ffffffffffffffff.seg", "4000000000000001.seg", "marks"}) {
        CHECK_FALSE(parse_segment_name(name));
    }
}

TEST_CASE("what is done out of order becomes visible in order") {
    CommitOrder order(Lsn(100));
    const auto a = order.add(Lsn(110));
    const auto b = order.add(Lsn(120));
    const auto c = order.add(Lsn(130));
    CHECK_FALSE(order.done(c));
    CHECK_FALSE(order.done(b));
    CHECK(order.visible() == Lsn(100));
    CHECK(order.done(a));
    CHECK(order.visible() == Lsn(130));
    CHECK(order.empty());
}

TEST_CASE("any number may be in flight behind the oldest") {
    CommitOrder order{Lsn()};
    for (std::uint64_t round = 0; round < 3; ++round) {
        const auto base = order.visible().bytes();
        std::vector<std::uint64_t> tickets;
        for (std::uint64_t i = 1; i <= 1000; ++i) tickets.push_back(order.add(Lsn(base + i)));
        for (std::size_t i = tickets.size(); i-- > 1;) CHECK_FALSE(order.done(tickets[i]));
        CHECK(order.done(tickets[0]));
        CHECK(order.visible() == Lsn(base + 1000));
    }
}

TEST_CASE("a pool gives each slot once") {
    SlotPool pool(70);
    std::vector<bool> taken(70);
    for (int i = 0; i < 70; ++i) {
        const auto slot = pool.take();
        REQUIRE(slot);
        REQUIRE(*slot < 70);
        CHECK_FALSE(taken[*slot]);
        taken[*slot] = true;
    }
    pool.give_back(66);
    CHECK(pool.take() == 66);
}

TEST_CASE("who finds no slot waits for one, or for the interruption") {
    SlotPool pool(1);
    REQUIRE(pool.take() == 0);
    std::optional<std::uint32_t> second;
    std::thread waiter([&] { second = pool.take(); });
    pool.give_back(0);
    waiter.join();
    CHECK(second == 0);

    std::optional<std::uint32_t> third = 7;
    std::thread interrupted([&] { third = pool.take(); });
    pool.interrupt();
    interrupted.join();
    CHECK_FALSE(third);
}

TEST_CASE("marks are found again and never go back") {
    const TempDir dir;
    {
        auto marks = Marks::open(dir.fd());
        REQUIRE(marks);
        CHECK_FALSE(marks->found().committed);
        CHECK_FALSE(marks->found().durable);
        CHECK_FALSE(marks->found().unreadable);
        marks->note_committed(Lsn(10));
        marks->note_committed(Lsn(5));
        marks->note_durable(Lsn(7));
        marks->set_clean(true);
    }
    {
        auto marks = Marks::open(dir.fd());
        REQUIRE(marks);
        CHECK(marks->found().committed == Lsn(10));
        CHECK(marks->found().durable == Lsn(7));
        CHECK(marks->found().clean);
        marks->forget();
    }
    auto marks = Marks::open(dir.fd());
    REQUIRE(marks);
    CHECK_FALSE(marks->found().committed);
    CHECK_FALSE(marks->found().clean);
}

TEST_CASE("marks of a wrong size or content are made anew") {
    const TempDir dir;
    for (const auto& content : {std::string("short"), std::string(4096, 'x'), std::string(5000, '\0')}) {
        spill(dir.path() / "marks", content);
        auto marks = Marks::open(dir.fd());
        REQUIRE(marks);
        CHECK(marks->found().unreadable);
        CHECK_FALSE(marks->found().committed);
        CHECK(std::filesystem::file_size(dir.path() / "marks") == 4096);
    }
}

TEST_CASE("no flipped bit of the marks makes other marks of them") {
    const TempDir dir;
    {
        auto marks = Marks::open(dir.fd());
        REQUIRE(marks);
        marks->begin(Lsn(5000), Lsn(3000));
    }
    const std::string good = slurp(dir.path() / "marks");
    for (std::size_t bit = 0; bit < 24 * 8; ++bit) {
        std::string flipped = good;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        spill(dir.path() / "marks", flipped);
        const auto marks = Marks::open(dir.fd());
        REQUIRE(marks);
        CAPTURE(bit);
        CHECK(marks->found().unreadable);
        CHECK_FALSE(marks->found().committed);
    }
}

TEST_CASE("marks that are damaged while they are open are made anew") {
    const TempDir dir;
    auto marks = Marks::open(dir.fd());
    REQUIRE(marks);
    marks->begin(Lsn(5000), Lsn(3000));
    std::string page = slurp(dir.path() / "marks");
    std::fstream file(dir.path() / "marks", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(8);
    file.put(static_cast<char>(page[8] ^ 1));
    file.close();
    marks->note_committed(Lsn(4000));
    CHECK(Marks::open(dir.fd())->found().committed == Lsn(4000));
}

TEST_CASE("a scanner finds frames of any size and nothing else") {
    const TempDir dir;
    auto segment = create_segment(dir.fd(), Lsn(1000));
    REQUIRE(segment);
    std::vector<std::size_t> sizes{0, 1, 300'000, 7, kMaxPayloadBytes, 20};
    std::vector<std::uint64_t> offsets;
    std::uint64_t end = 0;
    for (const auto size : sizes) {
        const auto frame = make_frame(FrameKind::kRecord, Lsn(1000 + end), 1, Bytes(size, std::byte{42}));
        REQUIRE(write_all((*segment)->fd(), frame, end));
        offsets.push_back(end);
        end += frame.size();
    }
    FrameScanner scanner;
    FrameView frame;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        REQUIRE(scanner.look(*segment, offsets[i], end - offsets[i], frame) == FrameScanner::Found::kFrame);
        CHECK(frame.payload.size() == sizes[i]);
    }
    CHECK(scanner.look(*segment, 0, end, frame) == FrameScanner::Found::kFrame);  // backwards, too
    CHECK(scanner.look(*segment, 0, 47, frame) == FrameScanner::Found::kNone);    // cut off by the limit
    CHECK(scanner.look(*segment, 1, end - 1, frame) == FrameScanner::Found::kNone);
    CHECK(scanner.look(*segment, end, 100, frame) == FrameScanner::Found::kNone);
    CHECK(scanner.look(*segment, offsets[4], 5000, frame) == FrameScanner::Found::kNone);

    auto moved = create_segment(dir.fd(), Lsn(2000));  // the same bytes at another place are no frames there
    REQUIRE(moved);
    REQUIRE(write_all((*moved)->fd(), make_frame(FrameKind::kRecord, Lsn(1000), 1, {}), 0));
    CHECK(scanner.look(*moved, 0, 48, frame) == FrameScanner::Found::kNone);
}

}  // namespace tdfs::test

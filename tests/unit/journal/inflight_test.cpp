// What becomes of reservations that a killed process left open.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "tests/unit/journal/support.hpp"

namespace tdfs::test {

namespace {

Bytes to_bytes(const std::string& text) {
    const auto view = as_bytes(text);
    return {view.begin(), view.end()};
}

std::unique_ptr<Journal> child_journal(const TempDir& dir, const JournalOptions& options = kSmall) {
    auto journal = Journal::open(dir.fd(), options, Lsn(), true, {});
    if (!journal) ::_exit(2);
    return std::move(*journal);
}

// The place of the frame with this text.
Lsn place_of(Journal& journal, const std::string& text) {
    for (const auto& entry : read_all(journal).entries) {
        if (entry.text == text) return entry.lsn;
    }
    FAIL("no frame says " << text);
    return {};
}

}  // namespace

TEST_CASE("each reservation in flight is offered once, in order, with its intent") {
    const TempDir dir;
    in_killed_process([&] {
        const auto journal = child_journal(dir).release();
        return put(*journal, "a") && leave_open(*journal, 100, "first") && put(*journal, "b") &&
               leave_open(*journal, 50, "second") && leave_open(*journal, 0, "") && put(*journal, "c");
    });
    std::vector<InFlight> offered;
    const auto resolve = [&](const InFlight& left) {
        offered.push_back(left);
        return left.intent.empty() ? Bytes() : to_bytes("did " + std::string(as_text(left.intent)));
    };
    const auto journal = open_journal(dir.fd(), kSmall, Lsn(), true, resolve);
    REQUIRE(offered.size() == 3);
    CHECK(as_text(offered[0].intent) == "first");
    CHECK(offered[0].lsn == Lsn(49));
    CHECK(offered[0].frame_bytes == 148);
    CHECK(offered[0].time_ns != 0);
    CHECK(as_text(offered[1].intent) == "second");
    CHECK(offered[2].frame_bytes == 48);
    CHECK(journal->open_report().resolved == 3);
    CHECK_FALSE(journal->open_report().lost_committed);
    CHECK(texts(*journal) == std::vector<std::string>{"a", "did first", "b", "did second", "c"});
    CHECK(read_all(*journal).entries[1].lsn == Lsn(49));

    offered.clear();
    REQUIRE(put(*journal, "d"));
    REQUIRE(journal->close());
    const auto again = open_journal(dir.fd(), kSmall, Lsn(), true, resolve);
    CHECK(offered.empty());
    CHECK(texts(*again).size() == 6);
}

TEST_CASE("no flipped bit of a reservation in flight is resolved as another one, or forgotten in silence") {
    const TempDir dir;
    in_killed_process([&] {
        const auto journal = child_journal(dir).release();
        return put(*journal, "a") && leave_open(*journal, 16, "intent") && put(*journal, "b");
    });
    std::map<std::filesystem::path, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(journal_path(dir))) {
        files[entry.path()] = slurp(entry.path());
    }
    const auto table = journal_path(dir) / "inflight";
    const std::size_t header = 48, at = 64, intent = 6;
    for (std::size_t bit = 0; bit < (at + intent) * 8; ++bit) {
        if (bit >= header * 8 && bit < at * 8) continue;  // nothing is kept there
        for (const auto& [path, content] : files) spill(path, content);
        auto flipped = files[table];
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        spill(table, flipped);
        CAPTURE(bit);
        const auto journal =
            open_journal(dir.fd(), kSmall, Lsn(), true, [&](const InFlight&) { return to_bytes("x"); });
        REQUIRE(journal->open_report().resolved == 0);
        REQUIRE(journal->open_report().lost_reservations == 1);
    }
}

TEST_CASE("a flipped bit in a free slot is no reservation") {
    const TempDir dir;
    in_killed_process([&] { return put(*child_journal(dir).release(), "a"); });
    const auto table = journal_path(dir) / "inflight";
    const auto good = slurp(table);
    for (std::size_t bit = 0; bit < 64 * 8; ++bit) {
        auto flipped = good;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        spill(table, flipped);
        const auto journal = open_journal(dir.fd());
        REQUIRE(journal->open_report().lost_reservations == 0);
        REQUIRE(texts(*journal) == std::vector<std::string>{"a"});
    }
}

TEST_CASE("without a resolver the places become void") {
    const TempDir dir;
    in_killed_process([&] {
        const auto journal = child_journal(dir).release();
        return leave_open(*journal, 100, "x") && put(*journal, "a");
    });
    const auto journal = open_journal(dir.fd());
    const auto content = read_all(*journal);
    REQUIRE(content.entries.size() == 2);
    CHECK(content.entries[0].kind == FrameKind::kVoid);
    CHECK(content.texts() == std::vector<std::string>{"a"});
}

TEST_CASE("a payload that does not fit its place goes to the tail, after all others") {
    const TempDir dir;
    in_killed_process([&] {
        const auto journal = child_journal(dir).release();
        return leave_open(*journal, 4, "big") && leave_open(*journal, 20, "small") && put(*journal, "a");
    });
    const std::string big(800, 'B');
    const auto journal = open_journal(dir.fd(), kSmall, Lsn(), true, [&](const InFlight& left) {
        return to_bytes(as_text(left.intent) == "big" ? big : "small");
    });
    CHECK(texts(*journal) == std::vector<std::string>{"small", "a", big});
    CHECK(read_all(*journal).entries[0].kind == FrameKind::kVoid);
    REQUIRE(put(*journal, "on"));
    CHECK(texts(*journal).back() == "on");
}

TEST_CASE("reservations are found in every segment") {
    const TempDir dir;
    in_killed_process([&] {
        const auto journal = child_journal(dir, {.segment_bytes = 300, .slots = 64}).release();
        for (int i = 0; i < 30; ++i) {
            const auto text = std::to_string(i);
            if (!(i % 3 == 0 ? leave_open(*journal, 90, text) : put(*journal, text + std::string(50, '.'))))
                return false;
        }
        return true;
    });
    int next = 0;
    const auto journal =
        open_journal(dir.fd(), {.segment_bytes = 300, .slots = 1}, Lsn(), true, [&](const InFlight& left) {
            CHECK(as_text(left.intent) == std::to_string(next));
            next += 3;
            return to_bytes("late");
        });
    CHECK(next == 30);
    CHECK(texts(*journal).size() == 30);
}

TEST_CASE("a frame that was whole when the process was killed stands, slot or not") {
    const TempDir dir;
    in_killed_process([&] {
        const auto journal = child_journal(dir).release();
        return put(*journal, "a") && leave_open(*journal, 10, "slot") && put(*journal, "b");
    });
    // What the commit would have written.
    const auto frame = make_frame(FrameKind::kRecord, Lsn(49), 1, as_bytes("0123456789"));
    const int fd = ::open(segments(dir).front().c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(write_all(fd, frame, 49));
    ::close(fd);
    int asked = 0;
    const auto journal = open_journal(dir.fd(), kSmall, Lsn(), true, [&](const InFlight&) {
        ++asked;
        return Bytes();
    });
    CHECK(asked == 0);
    CHECK(texts(*journal) == std::vector<std::string>{"a", "0123456789", "b"});
}

TEST_CASE("a commit that was killed half way is resolved, and nothing of it is left") {
    const auto frame = make_frame(FrameKind::kRecord, Lsn(49), 1, as_bytes("0123456789"));
    for (std::size_t written = 0; written < frame.size(); ++written) {
        const TempDir dir = make_quick_dir();
        in_killed_process([&] {
            const auto journal = child_journal(dir).release();
            return put(*journal, "a") && leave_open(*journal, 10, "slot") && put(*journal, "b");
        });
        const int fd = ::open(segments(dir).front().c_str(), O_RDWR | O_CLOEXEC);
        REQUIRE(write_all(fd, ByteView(frame).first(written), 49));
        ::close(fd);
        const bool becomes_void = written % 2 == 0;
        const auto journal = open_journal(dir.fd(), kSmall, Lsn(), true,
                                          [&](const InFlight&) { return becomes_void ? Bytes() : to_bytes("r"); });
        CHECK(journal->open_report().resolved == 1);
        const auto found = texts(*journal);
        REQUIRE(found == (becomes_void ? std::vector<std::string>{"a", "b"} : std::vector<std::string>{"a", "r", "b"}));
    }
}

TEST_CASE("a recovery that is killed itself is done again") {
    const TempDir dir;
    in_killed_process([&] {
        const auto journal = child_journal(dir).release();
        return leave_open(*journal, 10, "one") && leave_open(*journal, 10, "two") && put(*journal, "a");
    });
    in_killed_process([&] {
        int asked = 0;
        const auto journal = Journal::open(dir.fd(), kSmall, Lsn(), true, [&](const InFlight&) {
            if (++asked == 2) ::kill(::getpid(), SIGKILL);
            return Bytes();
        });
        return false;
    });
    int asked = 0;
    const auto journal = open_journal(dir.fd(), kSmall, Lsn(), true, [&](const InFlight& left) {
        ++asked;
        return left.intent;
    });
    CHECK(asked == 2);
    CHECK(texts(*journal) == std::vector<std::string>{"one", "two", "a"});
}

TEST_CASE("at a new boot the table is not believed: the journal ends at the first gap") {
    const TempDir dir;
    in_killed_process([&] {
        const auto journal = child_journal(dir).release();
        return put(*journal, "a") && leave_open(*journal, 10, "x") && put(*journal, "b");
    });
    int asked = 0;
    const auto resolve = [&](const InFlight&) {
        ++asked;
        return Bytes();
    };
    {
        const auto journal = open_journal(dir.fd(), kSmall, Lsn(), false, resolve);
        CHECK(texts(*journal) == std::vector<std::string>{"a"});
        CHECK(journal->open_report().cut_bytes == 10 + 48 + 49);
        CHECK_FALSE(journal->open_report().lost_committed);  // it was never visible
        REQUIRE(put(*journal, "c"));
    }
    const auto journal = open_journal(dir.fd(), kSmall, Lsn(), true, resolve);
    CHECK(asked == 0);
    CHECK(texts(*journal) == std::vector<std::string>{"a", "c"});
    CHECK(place_of(*journal, "c") == Lsn(49));
}

TEST_CASE("the longest intent survives") {
    const TempDir dir;
    std::string longest(kMaxIntentBytes, '\0');
    for (std::size_t i = 0; i < longest.size(); ++i) longest[i] = static_cast<char>(i * 31 % 251);
    in_killed_process([&] {
        const auto journal = child_journal(dir).release();
        return leave_open(*journal, 1, longest) && leave_open(*journal, 1, longest);
    });
    int asked = 0;
    const auto journal = open_journal(dir.fd(), kSmall, Lsn(), true, [&](const InFlight& left) {
        ++asked;
        CHECK(as_text(left.intent) == longest);
        return Bytes();
    });
    CHECK(asked == 2);
}

TEST_CASE("reservations are not lost with the marks") {
    const TempDir dir;
    in_killed_process([&] {
        const auto journal = child_journal(dir, {.segment_bytes = 200, .slots = 8}).release();
        if (!leave_open(*journal, 10, "early")) return false;
        for (int i = 0; i < 10; ++i) {
            if (!put(*journal, std::string(30, 'x'))) return false;
        }
        return true;
    });
    std::filesystem::remove(journal_path(dir) / "marks");
    const auto journal =
        open_journal(dir.fd(), {.segment_bytes = 200}, Lsn(), true, [](const InFlight& left) { return left.intent; });
    CHECK(texts(*journal).size() == 11);
    CHECK(texts(*journal).front() == "early");
}

}  // namespace tdfs::test

// Opening what a kill, a power loss or a stranger left.
#include <filesystem>

#include "tests/unit/journal/support.hpp"

namespace tdfs::test {

namespace {

namespace fs = std::filesystem;

// A closed journal of a few frames in a few segments.
struct Sample {
    TempDir dir = make_quick_dir();
    std::vector<std::string> texts;
    std::vector<Lsn> ends;  // of each frame
    Lsn tail;

    explicit Sample(int records = 16, std::uint64_t segment_bytes = 300) {
        const auto journal = open_journal(dir.fd(), {.segment_bytes = segment_bytes, .slots = 1});
        for (int i = 0; i < records; ++i) {
            texts.push_back(std::string(static_cast<std::size_t>(1 + i * 11 % 40), static_cast<char>('a' + i % 26)));
            REQUIRE(put(*journal, texts.back()));
            ends.push_back(journal->tail());
        }
        tail = journal->tail();
        REQUIRE(journal->close());
    }
    // The texts of the frames that end at or before `at`.
    [[nodiscard]] std::vector<std::string> before(Lsn at) const {
        std::vector<std::string> found;
        for (std::size_t i = 0; i < texts.size() && ends[i] <= at; ++i) found.push_back(texts[i]);
        return found;
    }
};

Lsn first_of(const fs::path& segment) { return *parse_segment_name(segment.filename().string()); }

void copy_journal(const TempDir& from, const TempDir& to) {
    fs::remove_all(journal_path(to));
    fs::copy(journal_path(from), journal_path(to));
}

void flip(const fs::path& path, std::uint64_t at) {
    auto content = slurp(path);
    content[at] = static_cast<char>(content[at] ^ 0x20);
    spill(path, content);
}

// Writes beyond the tail, as a torn write would have.
void scribble(const fs::path& path, std::uint64_t at, const std::string& text) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file << text;
}

}  // namespace

TEST_CASE("cut at any byte, a journal keeps the frames before, says what it lost, and is usable") {
    const Sample sample;
    const TempDir dir = make_quick_dir();
    const bool same_boot = GENERATE(true, false);
    const auto files = segments(sample.dir);
    for (std::uint64_t cut = 0; cut < sample.tail.bytes(); ++cut) {
        copy_journal(sample.dir, dir);
        for (const auto& file : files) {
            const auto first = first_of(file).bytes();
            const auto copy = journal_path(dir) / file.filename();
            if (first > cut) {
                fs::remove(copy);
            } else if (first + fs::file_size(copy) > cut) {
                fs::resize_file(copy, cut - first);
            }
        }
        const auto journal = open_journal(dir.fd(), kTiny, Lsn(), same_boot);
        auto expected = sample.before(Lsn(cut));
        REQUIRE(texts(*journal) == expected);
        REQUIRE(journal->open_report().lost_committed);
        REQUIRE(put(*journal, "and on"));
        expected.push_back("and on");
        REQUIRE(texts(*journal) == expected);
    }
}

TEST_CASE("a flipped byte is found by the reader, or cut at a new boot: nothing wrong is ever read") {
    const Sample sample;
    const TempDir dir = make_quick_dir();
    const bool same_boot = GENERATE(true, false);
    const auto files = segments(sample.dir);
    for (std::size_t i = 0; i < files.size(); ++i) {
        const auto& file = files[i];
        const auto first = first_of(file);
        const auto bytes = (i + 1 < files.size() ? first_of(files[i + 1]) : sample.tail) - first;
        for (std::uint64_t at = 0; at < bytes; ++at) {
            copy_journal(sample.dir, dir);
            flip(journal_path(dir) / file.filename(), at);
            const auto journal = open_journal(dir.fd(), kTiny, Lsn(), same_boot);
            const auto content = read_all(*journal);
            const auto found = content.texts();
            REQUIRE(found == sample.before(first + at));
            const bool cut = content.end == JournalReader::Status::kAtTail;
            const bool damaged = content.end == JournalReader::Status::kDamaged;
            REQUIRE((cut || damaged));
            if (cut) REQUIRE(journal->open_report().lost_committed);
            if (same_boot) REQUIRE(damaged);
        }
    }
}

TEST_CASE("behind a damaged frame the next segments can be read") {
    const Sample sample;
    flip(segments(sample.dir).front(), 60);
    const auto journal = open_journal(sample.dir.fd(), kTiny);
    const auto second = first_of(segments(sample.dir)[1]);
    const auto content = read_from(*journal, second);
    CHECK(content.end == JournalReader::Status::kAtTail);
    CHECK(content.texts().size() > 3);
}

TEST_CASE("without its marks a journal is found as well") {
    for (const bool same_boot : {true, false}) {
        const Sample sample;
        fs::remove(journal_path(sample.dir) / "marks");
        const auto journal = open_journal(sample.dir.fd(), kTiny, Lsn(), same_boot);
        CHECK(texts(*journal) == sample.texts);
        CHECK_FALSE(journal->open_report().lost_committed);
        CHECK_FALSE(journal->open_report().clean_stop);
        CHECK(journal->durable() <= journal->tail());
    }
}

TEST_CASE("garbage behind the tail is cut and counted") {
    for (const bool same_boot : {true, false}) {
        Sample sample(5, 4096);
        scribble(segments(sample.dir).back(), sample.tail.bytes() + 10, "garbage");
        scribble(segments(sample.dir).back(), 4000, "more");
        const auto journal = open_journal(sample.dir.fd(), kPage, Lsn(), same_boot);
        CHECK(journal->open_report().cut_bytes == 4004 - sample.tail.bytes());
        CHECK_FALSE(journal->open_report().lost_committed);
        CHECK(texts(*journal) == sample.texts);
        CHECK(slurp(segments(sample.dir).back()).substr(sample.tail.bytes()) ==
              std::string(4096 - sample.tail.bytes(), '\0'));
    }
}

TEST_CASE("a frame of another place behind the tail is not taken for the next") {
    Sample sample(5, 4096);
    const auto foreign = make_frame(FrameKind::kRecord, sample.tail + 1, 1, as_bytes("elsewhere"));
    scribble(segments(sample.dir).back(), sample.tail.bytes(), std::string(as_text(foreign)));
    const auto journal = open_journal(sample.dir.fd(), kPage);
    CHECK(texts(*journal) == sample.texts);
}

TEST_CASE("a missing segment in the middle costs the older ones") {
    for (const bool same_boot : {true, false}) {
        const Sample sample;
        const auto files = segments(sample.dir);
        REQUIRE(files.size() >= 4);
        fs::remove(files[1]);
        const auto journal = open_journal(sample.dir.fd(), kTiny, Lsn(), same_boot);
        CHECK(journal->oldest() == first_of(files[2]));
        CHECK(journal->tail() == sample.tail);
        CHECK(read_all(*journal).end == JournalReader::Status::kAtTail);
        CHECK(journal->open_report().notes.size() == 1);
        CHECK_FALSE(journal->open_report().lost_committed);
        CHECK(segments(sample.dir).size() == files.size() - 2);
    }
}

TEST_CASE("a zero-length segment in the middle is a missing one") {
    const Sample sample;
    const auto files = segments(sample.dir);
    fs::resize_file(files[1], 0);
    const auto journal = open_journal(sample.dir.fd(), kTiny);
    CHECK(journal->oldest() == first_of(files[2]));
    CHECK(journal->tail() == sample.tail);
}

TEST_CASE("beyond what was durable, a gap after a power loss is where the journal ends") {
    TempDir dir;
    in_killed_process([&] {
        auto journal = Journal::open(dir.fd(), kTiny, Lsn(), true, {});
        if (!journal) return false;
        for (int i = 0; i < 20; ++i) {
            if (!put(**journal, std::string(20, 'x'))) return false;
        }
        return true;
    });
    // As if nothing had ever been synced, and the second of the segments had not reached the disk.
    auto marks = slurp(journal_path(dir) / "marks");
    std::fill(marks.begin() + 16, marks.begin() + 24, '\0');
    spill(journal_path(dir) / "marks", marks);
    const auto files = segments(dir);
    REQUIRE(files.size() >= 4);
    fs::resize_file(files[1], 0);
    const auto journal = open_journal(dir.fd(), kTiny, Lsn(), false);
    CHECK(journal->oldest() == Lsn(0));
    CHECK(journal->tail() == first_of(files[1]));
    CHECK_FALSE(journal->open_report().lost_committed);
    CHECK(put(*journal, "on"));
}

TEST_CASE("an empty last segment is fine, and so is its absence") {
    for (const bool same_boot : {true, false}) {
        TempDir dir;
        std::vector<std::string> expected;
        {
            const auto journal = open_journal(dir.fd(), kTiny);
            for (int i = 0; i < 10; ++i) {
                expected.push_back(std::string(30, 'x'));
                REQUIRE(put(*journal, expected.back()));
            }
            REQUIRE(journal->close());
        }
        const auto tail = [&] { return open_journal(dir.fd(), kTiny)->tail(); }();
        // Ended exactly at the tail: the next one exists and holds nothing.
        const auto last = segments(dir).back();
        fs::resize_file(last, tail - first_of(last));
        spill(journal_path(dir) / segment_name(tail), "");
        {
            const auto journal = open_journal(dir.fd(), kTiny, Lsn(), same_boot);
            CHECK(journal->tail() == tail);
            CHECK(texts(*journal) == expected);
        }
        fs::remove(journal_path(dir) / segment_name(tail));
        const auto journal = open_journal(dir.fd(), kTiny, Lsn(), same_boot);
        CHECK(texts(*journal) == expected);
        CHECK(put(*journal, "on"));
    }
}

TEST_CASE("all segments gone: a new journal, which says what it lost") {
    const Sample sample;
    for (const auto& file : segments(sample.dir)) fs::remove(file);
    const auto journal = open_journal(sample.dir.fd(), kTiny, Lsn());
    CHECK(journal->open_report().lost_committed);
    CHECK(journal->tail() == Lsn());
    CHECK(put(*journal, "on"));
}

TEST_CASE("strange names are let be and noted") {
    const Sample sample;
    for (const char* name : {"README", "00000000000000zz.seg", "0000000000000000.seg.bak", "ABCDEF0000000000.seg"}) {
        spill(journal_path(sample.dir) / name, "x");
    }
    fs::create_directory(journal_path(sample.dir) / "lost+found");
    const auto journal = open_journal(sample.dir.fd(), kTiny);
    CHECK(texts(*journal) == sample.texts);
    CHECK(journal->open_report().notes.size() == 5);
    CHECK(fs::exists(journal_path(sample.dir) / "README"));
}

TEST_CASE("what cannot be a journal is refused in words") {
    SECTION("a directory in a segment's place") {
        TempDir dir;
        fs::create_directories(journal_path(dir) / segment_name(Lsn()));
        const auto journal = Journal::open(dir.fd(), kSmall, Lsn(), true, {});
        REQUIRE_FALSE(journal);
        CHECK_THAT(journal.error().text, Catch::Matchers::ContainsSubstring("0000000000000000.seg"));
    }
    SECTION("a symbolic link in a segment's place") {
        TempDir dir;
        fs::create_directories(journal_path(dir));
        fs::create_symlink("/dev/zero", journal_path(dir) / segment_name(Lsn()));
        CHECK_FALSE(Journal::open(dir.fd(), kSmall, Lsn(), true, {}));
    }
    SECTION("a file in the journal's place") {
        TempDir dir;
        spill(journal_path(dir), "x");
        CHECK_FALSE(Journal::open(dir.fd(), kSmall, Lsn(), true, {}));
    }
    SECTION("options out of range") {
        TempDir dir;
        CHECK_FALSE(Journal::open(dir.fd(), {.segment_bytes = 48}, Lsn(), true, {}));
        CHECK_FALSE(Journal::open(dir.fd(), {.slots = 0}, Lsn(), true, {}));
        CHECK_FALSE(Journal::open(dir.fd(), kSmall, Lsn(~0ull), true, {}));
    }
}

TEST_CASE("a table of reservations of any size and content does no harm") {
    for (const auto& content : {std::string("x"), std::string(100'000, '\xff'), std::string(200'000, 'T')}) {
        const Sample sample;
        spill(journal_path(sample.dir) / "inflight", content);
        int asked = 0;
        const auto journal = open_journal(sample.dir.fd(), kTiny, Lsn(), true, [&](const InFlight&) {
            ++asked;
            return Bytes();
        });
        CHECK(asked == 0);
        CHECK(texts(*journal) == sample.texts);
        CHECK(put(*journal, "on"));
    }
}

}  // namespace tdfs::test

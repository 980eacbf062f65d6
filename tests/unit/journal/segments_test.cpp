// Rolling over, looking in, dropping, beginning anew.
#include <unistd.h>

#include <filesystem>

#include "tests/unit/journal/support.hpp"

namespace tdfs::test {

namespace {

// Fills about `count` segments of kSmall's size.
std::vector<std::string> fill(Journal& journal, int count) {
    std::vector<std::string> put_in;
    for (int i = 0; i < count * 10; ++i) {
        put_in.push_back(std::to_string(i) + std::string(50, 'a'));
        REQUIRE(put(journal, put_in.back()));
    }
    return put_in;
}

}  // namespace

TEST_CASE("frames never span two segments, and lsn run on") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    const auto expected = fill(*journal, 5);
    CHECK(texts(*journal) == expected);
    REQUIRE(journal->close());
    const auto files = segments(dir);
    REQUIRE(files.size() > 4);
    for (std::size_t i = 0; i + 1 < files.size(); ++i) {
        const auto first = parse_segment_name(files[i].filename().string());
        const auto next = parse_segment_name(files[i + 1].filename().string());
        REQUIRE((first && next));
        auto content = slurp(files[i]);
        content.resize(*next - *first);  // the keeper or the next open cuts what was allocated beyond
        for (auto rest = as_bytes(content); !rest.empty();) {
            const auto frame = parse_frame(rest);
            REQUIRE(frame);
            REQUIRE(frame->complete());
            rest = rest.subspan(frame->bytes.size());
        }
    }
}

TEST_CASE("ended segments are cut to what they hold, at the latest by the next open") {
    const TempDir dir;
    fill(*open_journal(dir.fd()), 5);
    REQUIRE(open_journal(dir.fd())->close());
    const auto files = segments(dir);
    REQUIRE(files.size() > 4);
    // The keeper may have been stopped before it came to them: opening hands them to it again, and closing waits.
    const auto journal = open_journal(dir.fd());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (std::size_t i = 0; i + 1 < files.size(); ++i) {
        const auto used =
            *parse_segment_name(files[i + 1].filename().string()) - *parse_segment_name(files[i].filename().string());
        while (std::filesystem::file_size(files[i]) != used && std::chrono::steady_clock::now() < deadline) {
            ::usleep(1000);
        }
        CHECK(std::filesystem::file_size(files[i]) == used);
    }
}

TEST_CASE("an open journal holds the space of the segment it writes") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd(), {.segment_bytes = 1 << 20});
    REQUIRE(put(*journal, "x"));
    CHECK(std::filesystem::file_size(segments(dir).front()) == 1 << 20);
    CHECK(journal->disk_bytes() == 1 << 20);
}

TEST_CASE("views give the bytes of the frames, whatever the position") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd(), kTiny);
    fill(*journal, 2);
    const auto all = bytes_from(*journal, Lsn());
    CHECK(all.size() == journal->tail().bytes());
    for (std::uint64_t at = 0; at <= all.size(); ++at) {
        const auto part = bytes_from(*journal, Lsn(at));
        REQUIRE(std::equal(part.begin(), part.end(), all.begin() + static_cast<std::ptrdiff_t>(at), all.end()));
    }
    CHECK(journal->view(journal->tail() + 1).error() == Errno(ERANGE));
    CHECK(journal->view(journal->tail())->bytes == 0);
}

TEST_CASE("dropping removes whole segments before a place and nothing else") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    fill(*journal, 5);
    const auto all = read_all(*journal).entries;
    for (const auto& entry : all) {
        REQUIRE(journal->drop_before(entry.lsn));
        CHECK(journal->oldest() <= entry.lsn);
        CHECK(entry.lsn - journal->oldest() < kSmall.segment_bytes);
        CHECK(read_from(*journal, entry.lsn).entries.size() == static_cast<std::size_t>(&all.back() - &entry) + 1);
    }
    REQUIRE(journal->drop_before(journal->tail() + 1000));
    CHECK(segments(dir).size() == 1);
    CHECK(journal->view(Lsn()).error() == Errno(ENOENT));
    JournalReader reader(*journal, Lsn());
    FrameView frame;
    CHECK(reader.next(frame) == JournalReader::Status::kGone);
    CHECK(put(*journal, "still usable"));
    const auto left = texts(*journal);
    REQUIRE(journal->close());
    CHECK(texts(*open_journal(dir.fd())) == left);
}

TEST_CASE("a segment that could not be dropped is dropped by the next call, or when the journal begins anew") {
    const bool anew = GENERATE(false, true);
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    fill(*journal, 4);
    const auto files = segments(dir);
    REQUIRE(files.size() > 3);
    // The second cannot be unlinked for the moment.
    const auto aside = dir.path() / "aside";
    std::filesystem::rename(files[1], aside);
    std::filesystem::create_directory(files[1]);
    CHECK(journal->drop_before(journal->tail()).error() == Errno(EISDIR));
    CHECK_FALSE(std::filesystem::exists(files[0]));
    CHECK(journal->oldest() == *parse_segment_name(files[1].filename().string()));
    CHECK(journal->view(journal->oldest()));
    std::filesystem::remove(files[1]);
    std::filesystem::rename(aside, files[1]);
    if (anew) {
        REQUIRE(journal->reset(Lsn(17)));
    } else {
        REQUIRE(journal->drop_before(journal->tail()));
    }
    CHECK(segments(dir).size() == 1);
}

TEST_CASE("who has a view goes on reading a segment that is dropped") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    fill(*journal, 3);
    const auto all = bytes_from(*journal, Lsn());
    const auto view = journal->view(Lsn());
    REQUIRE(view);
    REQUIRE(journal->drop_before(journal->tail()));
    Bytes part(view->bytes);
    REQUIRE(read_exact(view->fd, part, view->file_offset));
    CHECK(std::equal(part.begin(), part.end(), all.begin()));
}

TEST_CASE("beginning anew leaves nothing of what was") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    for (const std::uint64_t first : {5'000'000ull, 17ull, 0ull}) {
        fill(*journal, 3);
        REQUIRE(journal->reset(Lsn(first)));
        CHECK(journal->oldest() == Lsn(first));
        CHECK(journal->tail() == Lsn(first));
        CHECK(journal->durable() == Lsn(first));
        CHECK(segments(dir).size() == 1);
        CHECK(read_all(*journal).entries.empty());
    }
    const auto expected = fill(*journal, 3);
    CHECK(texts(*journal) == expected);
    REQUIRE(journal->reset(Lsn(99)));
    REQUIRE(put(*journal, "kept"));
    REQUIRE(journal->close());
    const auto again = open_journal(dir.fd());
    CHECK(again->oldest() == Lsn(99));
    CHECK(texts(*again) == std::vector<std::string>{"kept"});
}

TEST_CASE("nobody asking, at most so much is left unsynced, and what is dropped before that never is") {
    const TempDir dir;
    const JournalOptions options{.segment_bytes = 1024, .slots = 8, .unsynced_bytes = 8 * 1024};
    auto journal = open_journal(dir.fd(), options);
    for (int i = 0; i < 30; ++i) {
        fill(*journal, 1);
        REQUIRE(journal->drop_before(
            Lsn(journal->tail().bytes() - std::min<std::uint64_t>(journal->tail().bytes(), 3000))));
    }
    CHECK(journal->durable() == Lsn());
    SECTION("a power loss finds the rest, and a later start, too") {
        const auto left = texts(*journal);
        const auto oldest = journal->oldest();
        journal.reset();
        journal = open_journal(dir.fd(), options, Lsn(), GENERATE(true, false));
        CHECK(journal->oldest() == oldest);
        CHECK(texts(*journal) == left);
        CHECK_FALSE(journal->open_report().lost_committed);
    }
    SECTION("asked for, all that there is becomes durable") {
        REQUIRE(journal->sync(journal->tail()));
        CHECK(journal->durable() == journal->tail());
    }
    SECTION("what is not dropped is synced") {
        fill(*journal, 9);  // 9 kB and more
        for (int i = 0; i < 60'000 && journal->durable() == Lsn(); ++i) ::usleep(1000);
        CHECK(journal->durable() > Lsn());
    }
}

TEST_CASE("segment sizes may change from start to start") {
    const TempDir dir;
    std::vector<std::string> expected;
    for (const std::uint64_t size : {1024u, 4096u, 200u, 65536u, 512u}) {
        const auto journal =
            open_journal(dir.fd(), {.segment_bytes = size, .slots = static_cast<std::uint32_t>(1 + size % 7)});
        for (int i = 0; i < 30; ++i) {
            expected.push_back(std::to_string(size) + "/" + std::to_string(i));
            REQUIRE(put(*journal, expected.back()));
        }
        CHECK(texts(*journal) == expected);
        REQUIRE(journal->close());
    }
}

TEST_CASE("the greatest frames fit a segment of the ordinary size") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd(), {.segment_bytes = 4 * kMaxFrameBytes});
    const std::string big(kMaxPayloadBytes, 'b');
    for (int i = 0; i < 6; ++i) REQUIRE(put(*journal, big));
    const auto content = read_all(*journal);
    REQUIRE(content.entries.size() == 6);
    for (const auto& entry : content.entries) CHECK(entry.text == big);
}

}  // namespace tdfs::test

// A spool: frames appended as they came.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "tests/unit/journal/support.hpp"

namespace tdfs::test {

namespace {

// `count` frames from `at` on, with payloads of changing lengths.
Bytes make_frames(Lsn at, int count) {
    Bytes frames;
    for (int i = 0; i < count; ++i) {
        const auto frame = make_frame(FrameKind::kRecord, at + frames.size(), 1,
                                      as_bytes(std::string(static_cast<std::size_t>(i * 13 % 90), 'p')));
        frames.insert(frames.end(), frame.begin(), frame.end());
    }
    return frames;
}

}  // namespace

TEST_CASE("appended frames are the journal's bytes, over segment borders too") {
    const TempDir dir;
    const auto frames = make_frames(Lsn(1000), 200);
    {
        const auto journal = open_journal(dir.fd(), kSmall, Lsn(1000));
        REQUIRE(journal->append(frames));
        CHECK(journal->tail() == Lsn(1000) + frames.size());
        CHECK(bytes_from(*journal, Lsn(1000)) == frames);
        CHECK(read_all(*journal).entries.size() == 200);
        CHECK(segments(dir).size() > 5);
        REQUIRE(journal->close());
    }
    const auto journal = open_journal(dir.fd());
    CHECK(bytes_from(*journal, Lsn(1000)) == frames);
}

TEST_CASE("frames may come one by one or many at once") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    Bytes all;
    for (const int count : {1, 1, 17, 3, 60, 1, 0}) {
        const auto frames = make_frames(journal->tail(), count);
        REQUIRE(journal->append(frames));
        all.insert(all.end(), frames.begin(), frames.end());
        CHECK(bytes_from(*journal, Lsn()) == all);
    }
    REQUIRE(journal->sync(journal->tail()));
    CHECK(journal->durable() == Lsn(all.size()));
}

TEST_CASE("a spool needs no table of reservations") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    REQUIRE(journal->append(make_frames(Lsn(), 3)));
    CHECK_FALSE(std::filesystem::exists(journal_path(dir) / "inflight"));
    CHECK(put(*journal, "promoted"));
    CHECK(std::filesystem::exists(journal_path(dir) / "inflight"));
}

TEST_CASE("frames that do not continue the journal are refused") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    const auto frames = make_frames(Lsn(), 3);
    REQUIRE(journal->append(frames));
    const auto tail = journal->tail();
    CHECK(journal->append(frames).error() == Errno(EINVAL));                                     // again
    CHECK(journal->append(make_frames(tail + 1, 1)).error() == Errno(EINVAL));                   // with a gap
    CHECK(journal->append(ByteView(make_frames(tail, 3)).first(100)).error() == Errno(EINVAL));  // half a frame
    CHECK(journal->append(Bytes(100)).error() == Errno(EINVAL));                                 // no frame
    auto jump = make_frames(tail, 2);
    const auto odd = make_frames(tail, 1);
    jump.insert(jump.end(), odd.begin(), odd.end());
    CHECK(journal->append(jump).error() == Errno(EINVAL));  // a good beginning does not help
    CHECK(journal->append(make_frame(FrameKind::kFirstSession, Lsn(), 1, {})).error() == Errno(EINVAL));
    CHECK(journal->tail() == tail);
    CHECK(bytes_from(*journal, Lsn()) == frames);
}

TEST_CASE("an append that a kill tore is cut to whole frames, wherever it was torn") {
    const auto whole = make_frames(Lsn(), 4);
    const auto more = make_frames(Lsn(whole.size()), 3);
    std::vector<std::size_t> borders{0};
    for (std::size_t at = 0; at < more.size(); at = borders.back()) {
        borders.push_back(at + decode_header(ByteView(more).subspan(at))->frame_bytes());
    }
    for (std::size_t written = 0; written <= more.size(); ++written) {
        const TempDir dir = make_quick_dir();
        {
            const auto journal = open_journal(dir.fd(), kPage);
            REQUIRE(journal->append(whole));
        }
        {
            const int fd = ::open(segments(dir).back().c_str(), O_RDWR | O_CLOEXEC);
            REQUIRE(write_all(fd, ByteView(more).first(written), whole.size()));
            ::close(fd);
        }
        const auto journal = open_journal(dir.fd(), kPage);
        const auto last = *--std::upper_bound(borders.begin(), borders.end(), written);
        REQUIRE(journal->tail() == Lsn(whole.size() + last));
        CHECK_FALSE(journal->open_report().lost_committed);
        REQUIRE(journal->append(ByteView(more).subspan(last)));  // and goes on
        REQUIRE(read_all(*journal).entries.size() == 7);
    }
}

}  // namespace tdfs::test

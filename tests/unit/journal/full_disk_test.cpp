// A full disk is an answer, not an accident.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <thread>

#include "tests/support/small_disk.hpp"
#include "tests/unit/journal/support.hpp"

namespace tdfs::test {

namespace {

constexpr JournalOptions kOptions{.segment_bytes = 64 * 1024, .slots = 4};
constexpr std::size_t kRecordBytes = 1000;

// Writes until the disk is full; the number of records written.
int fill_up(Journal& journal) {
    for (int written = 0;; ++written) {
        auto r = journal.reserve(kRecordBytes, {});
        if (!r) {
            REQUIRE(r.error() == Errno(ENOSPC));
            return written;
        }
        const std::string text(kRecordBytes, 'x');
        const auto payload = as_bytes(text);
        REQUIRE(journal.commit(std::move(*r), 0, kRecordBytes, {&payload, 1}));
    }
}

}  // namespace

TEST_CASE("a full disk refuses reservations, loses nothing, and works again when there is space") {
    SmallDisk disk("2M");
    if (!disk.mounted()) return;
    const auto journal = open_journal(disk.fd(), kOptions);
    const auto written = fill_up(*journal);
    CHECK(written > 100);
    const auto tail = journal->tail();
    CHECK(journal->reserve(kRecordBytes, {}).error() == Errno(ENOSPC));
    CHECK(journal->tail() == tail);
    CHECK(texts(*journal).size() == static_cast<std::size_t>(written));
    REQUIRE(journal->sync(tail));

    REQUIRE(journal->drop_before(Lsn(tail.bytes() / 2)));
    CHECK(fill_up(*journal) > 10);
    const auto left = texts(*journal);
    REQUIRE(journal->close());
    CHECK(texts(*open_journal(disk.fd(), kOptions)) == left);
}

TEST_CASE("the journal leaves as much of its disk free as it was told to") {
    SmallDisk disk("2M");
    if (!disk.mounted()) return;
    JournalOptions options = kOptions;
    options.keep_free_bytes = 512 * 1024;
    const auto journal = open_journal(disk.fd(), options);
    const auto written = fill_up(*journal);
    CHECK(written > 100);
    struct statvfs s {};
    REQUIRE(::fstatvfs(disk.fd(), &s) == 0);
    CHECK(s.f_bavail * s.f_frsize >= options.keep_free_bytes);
    REQUIRE(journal->drop_before(Lsn(journal->tail().bytes() / 2)));
    int more = 0;  // the keeper may have the segments that were dropped in its hands for a moment
    for (int tries = 0; tries < 10'000 && more <= 10; ++tries) {
        more += fill_up(*journal);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(more > 10);
    REQUIRE(::fstatvfs(disk.fd(), &s) == 0);
    CHECK(s.f_bavail * s.f_frsize >= options.keep_free_bytes);
}

TEST_CASE("on a full disk the last part of a segment is kept for what gives space back") {
    SmallDisk disk("2M");
    if (!disk.mounted()) return;
    const auto journal = open_journal(disk.fd(), kOptions);
    const auto fill = [&](Room room) {
        for (int n = 0;; ++n) {
            auto r = journal->reserve(100, {}, room);
            if (!r) {
                CHECK(r.error() == Errno(ENOSPC));
                return n;
            }
            REQUIRE(journal->abandon(std::move(*r)));
        }
    };
    fill(Room::kOrdinary);
    CHECK(fill(Room::kOrdinary) == 0);
    CHECK(fill(Room::kGivesBack) >= 6);  // a 64th of 64 KiB, by 148 bytes
}

TEST_CASE("what has been reserved can be committed on a full disk") {
    SmallDisk disk("2M");
    if (!disk.mounted()) return;
    const auto journal = open_journal(disk.fd(), kOptions);
    std::vector<Reservation> reserved;
    for (int i = 0; i < 4; ++i) {
        auto r = journal->reserve(15'000, as_bytes("intent"));
        REQUIRE(r);
        reserved.push_back(std::move(*r));
    }
    disk.fill();
    const std::string text(15'000, 'x');
    const auto payload = as_bytes(text);
    for (auto& r : reserved) REQUIRE(journal->commit(std::move(r), 0, 15'000, {&payload, 1}));
    CHECK(texts(*journal) == std::vector<std::string>(4, text));
    fill_up(*journal);
    disk.free();
    CHECK(put(*journal, text));
}

TEST_CASE("a journal opens on a full disk and goes on when there is space") {
    SmallDisk disk("2M");
    if (!disk.mounted()) return;
    std::vector<std::string> expected;
    {
        const auto journal = open_journal(disk.fd(), kOptions);
        for (int i = 0; i < 10; ++i) expected.push_back("record " + std::to_string(i));
        for (const auto& text : expected) REQUIRE(put(*journal, text));
    }
    // Its space was given away, as by a copy that does not know of allocation.
    const auto segment = segment_name(Lsn());
    const auto dir = open_at(disk.fd(), "journal", O_RDONLY | O_DIRECTORY);
    REQUIRE(dir);
    {
        const auto fd = open_at(dir->get(), segment, O_RDWR);
        REQUIRE(fd);
        REQUIRE(::ftruncate(fd->get(), static_cast<off_t>(expected.size() * (48 + 8))) == 0);
    }
    disk.fill();
    const auto journal = open_journal(disk.fd(), kOptions);
    CHECK(texts(*journal) == expected);
    CHECK(journal->reserve(10'000, {}).error() == Errno(ENOSPC));
    disk.free();
    CHECK(put(*journal, std::string(10'000, 'x')));
    CHECK(texts(*journal).size() == 11);
}

TEST_CASE("beginning anew on a full disk is possible, writing is not yet") {
    SmallDisk disk("2M");
    if (!disk.mounted()) return;
    const auto journal = open_journal(disk.fd(), kOptions);
    REQUIRE(put(*journal, "x"));
    disk.fill();
    REQUIRE(journal->reset(Lsn(100)));
    disk.fill();
    // What the reset gave back it took again.
    CHECK(put(*journal, "fits what is held"));
    disk.free();
    fill_up(*journal);
}

TEST_CASE("a spool on a full disk takes what fits and says so") {
    SmallDisk disk("1M");
    if (!disk.mounted()) return;
    const auto journal = open_journal(disk.fd(), kOptions);
    const std::string text(kRecordBytes, 'x');
    constexpr std::uint64_t kFrames = 100;
    const auto some_frames = [&](std::uint64_t count) {
        Bytes frames;
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto frame = make_frame(FrameKind::kRecord, journal->tail() + frames.size(), 1, as_bytes(text));
            frames.insert(frames.end(), frame.begin(), frame.end());
        }
        return frames;
    };
    Errno error(0);
    while (error == Errno(0)) {
        const auto appended = journal->append(some_frames(kFrames));
        if (!appended) error = appended.error();
    }
    CHECK(error == Errno(ENOSPC));
    const auto before = journal->tail();
    CHECK(read_all(*journal).entries.size() * (48 + kRecordBytes) == before.bytes());
    REQUIRE(journal->drop_before(before));
    // The space may be in the hands of the thread that prepares the next segment for a moment: what fits is taken, the rest later.
    auto appended = journal->append(some_frames(kFrames));
    for (int tries = 0; !appended && tries < 1000; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        appended = journal->append(some_frames(kFrames - (journal->tail() - before) / (48 + kRecordBytes)));
    }
    REQUIRE(appended);
    CHECK(read_from(*journal, before).entries.size() == kFrames);
}

}  // namespace tdfs::test

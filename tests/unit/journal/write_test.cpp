// Reserving and committing, as the master does.
#include <poll.h>

#include <thread>

#include "tests/unit/journal/support.hpp"

namespace tdfs::test {

namespace {

bool readable(int fd) {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, 0) == 1;
}

std::vector<ByteView> pieces_of(const std::vector<std::string>& texts) {
    std::vector<ByteView> pieces;
    for (const auto& text : texts) pieces.push_back(as_bytes(text));
    return pieces;
}

}  // namespace

TEST_CASE("a new journal is empty and begins where it is told") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd(), kSmall, Lsn(12345));
    CHECK(journal->oldest() == Lsn(12345));
    CHECK(journal->tail() == Lsn(12345));
    CHECK(journal->durable() == Lsn(12345));
    CHECK(read_all(*journal).entries.empty());
    CHECK(journal->open_report().cut_bytes == 0);
    CHECK_FALSE(journal->open_report().lost_committed);
}

TEST_CASE("what is committed is read back, also after closing and opening") {
    const TempDir dir;
    const std::vector<std::string> expected{"one", "", "three", std::string(500, 'x')};
    {
        const auto journal = open_journal(dir.fd());
        for (const auto& text : expected) REQUIRE(put(*journal, text));
        CHECK(texts(*journal) == expected);
        REQUIRE(journal->close());
    }
    const auto journal = open_journal(dir.fd(), kSmall, Lsn(777));  // `first` counts only if there is none
    CHECK(texts(*journal) == expected);
    CHECK(journal->oldest() == Lsn(0));
    CHECK(journal->open_report().clean_stop);
    CHECK(journal->open_report().cut_bytes == 0);
    CHECK(journal->durable() == journal->tail());
    CHECK(journal->open_report().notes.empty());
}

TEST_CASE("the last stop counts as clean only if the journal was closed") {
    const TempDir dir;
    REQUIRE(open_journal(dir.fd())->close());
    CHECK(open_journal(dir.fd())->open_report().clean_stop);
    CHECK_FALSE(open_journal(dir.fd())->open_report().clean_stop);
}

TEST_CASE("a shorter payload is padded, an abandoned place is a void frame") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    auto padded = journal->reserve(100, {});
    auto empty = journal->reserve(50, {});
    REQUIRE(padded);
    REQUIRE(empty);
    CHECK(padded->frame_bytes() == 148);
    CHECK(empty->lsn() == padded->end());
    const auto text = as_bytes("abc");
    REQUIRE(journal->commit(std::move(*padded), 0, 3, {&text, 1}));
    REQUIRE(journal->abandon(std::move(*empty)));
    REQUIRE(put(*journal, "after"));

    const auto content = read_all(*journal);
    REQUIRE(content.entries.size() == 3);
    CHECK(content.entries[0].text == "abc");
    CHECK(content.entries[1].kind == FrameKind::kVoid);
    CHECK(content.entries[1].lsn == Lsn(148));
    CHECK(content.entries[2].lsn == Lsn(148 + 98));
}

TEST_CASE("a payload may come in any number of pieces") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd(), {.segment_bytes = 1 << 16});
    for (const std::size_t count : {1u, 15u, 16u, 17u, 1500u}) {
        std::vector<std::string> parts;
        std::string whole;
        for (std::size_t i = 0; i < count; ++i) parts.push_back(std::to_string(i));
        for (const auto& part : parts) whole += part;
        auto r = journal->reserve(whole.size(), {});
        REQUIRE(r);
        REQUIRE(journal->commit(std::move(*r), 0, static_cast<std::uint32_t>(whole.size()), pieces_of(parts)));
        CHECK(texts(*journal).back() == whole);
    }
}

TEST_CASE("flags and raw length travel in the header") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    auto r = journal->reserve(10, {});
    REQUIRE(r);
    const auto stored = as_bytes("compressed");
    REQUIRE(journal->commit(std::move(*r), kFlagLzf, 1000, {&stored, 1}));
    JournalReader reader(*journal, Lsn());
    FrameView frame;
    REQUIRE(reader.next(frame) == JournalReader::Status::kFrame);
    CHECK(frame.header.flags == kFlagLzf);
    CHECK(frame.header.raw_bytes == 1000);
}

TEST_CASE("readers see nothing behind a gap") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    auto a = journal->reserve(1, {});
    auto b = journal->reserve(1, {});
    auto c = journal->reserve(1, {});
    REQUIRE((a && b && c));
    const auto text = as_bytes("x");
    REQUIRE(journal->commit(std::move(*c), 0, 1, {&text, 1}));
    REQUIRE(journal->commit(std::move(*a), 0, 1, {&text, 1}));
    CHECK(journal->tail() == Lsn(49));
    CHECK(journal->reserved() == Lsn(3 * 49));
    REQUIRE(journal->abandon(std::move(*b)));
    CHECK(journal->tail() == Lsn(3 * 49));
}

TEST_CASE("times never go back along the journal") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    for (int i = 0; i < 20; ++i) REQUIRE(put(*journal, "x"));
    JournalReader reader(*journal, Lsn());
    FrameView frame;
    std::uint64_t last = 1;
    while (reader.next(frame) == JournalReader::Status::kFrame) {
        CHECK(frame.header.time_ns >= last);
        last = frame.header.time_ns;
    }
}

TEST_CASE("what cannot be reserved is refused and changes nothing") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    CHECK(journal->reserve(kMaxPayloadBytes + 1, {}).error() == Errno(EMSGSIZE));
    CHECK(journal->reserve(~std::size_t{0}, {}).error() == Errno(EMSGSIZE));
    CHECK(journal->reserve(kSmall.segment_bytes - kFrameHeaderBytes + 1, {}).error() == Errno(EMSGSIZE));
    CHECK(journal->reserve(1, Bytes(kMaxIntentBytes + 1)).error() == Errno(EMSGSIZE));
    REQUIRE(put(*journal, std::string(kSmall.segment_bytes - kFrameHeaderBytes, 'x')));
    CHECK(journal->tail() == Lsn(kSmall.segment_bytes));
}

TEST_CASE("an open reservation forbids closing and beginning anew") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    auto r = journal->reserve(1, {});
    REQUIRE(r);
    CHECK(journal->close().error() == Errno(EBUSY));
    CHECK(journal->reset(Lsn(5)).error() == Errno(EBUSY));
    REQUIRE(journal->abandon(std::move(*r)));
    REQUIRE(journal->close());
}

TEST_CASE("nothing is written after closing") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    REQUIRE(put(*journal, "x"));
    REQUIRE(journal->close());
    REQUIRE(journal->close());
    CHECK(journal->reserve(1, {}).error() == Errno(ESHUTDOWN));
    CHECK(journal->append(make_frame(FrameKind::kRecord, journal->tail(), 1, {})).error() == Errno(ESHUTDOWN));
    CHECK(journal->reset(Lsn()).error() == Errno(ESHUTDOWN));
    CHECK(texts(*journal) == std::vector<std::string>{"x"});
    CHECK(journal->sync(journal->tail()));
}

TEST_CASE("a reader positioned at any frame goes on from there") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    for (int i = 0; i < 50; ++i) REQUIRE(put(*journal, std::string(static_cast<std::size_t>(i * 7 % 40), 'a')));
    const auto all = read_all(*journal);
    JournalReader reader(*journal, Lsn());
    FrameView frame;
    for (std::size_t i = all.entries.size(); i-- > 0;) {
        CHECK(read_from(*journal, all.entries[i].lsn).entries.size() == all.entries.size() - i);
        reader.seek(all.entries[i].lsn);
        REQUIRE(reader.next(frame) == JournalReader::Status::kFrame);
        CHECK(as_text(frame.payload) == all.entries[i].text);
    }
    reader.seek(Lsn(1));
    CHECK(reader.next(frame) == JournalReader::Status::kDamaged);
    CHECK(reader.position() == Lsn(1));
    reader.seek(journal->tail() + 100);
    CHECK(reader.next(frame) == JournalReader::Status::kAtTail);
}

TEST_CASE("a commit wakes an armed listener, once") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    JournalListener listener;
    journal->add_listener(listener);
    REQUIRE(put(*journal, "unarmed"));
    CHECK_FALSE(readable(listener.fd()));
    listener.arm();
    CHECK_FALSE(readable(listener.fd()));
    REQUIRE(put(*journal, "armed"));
    CHECK(readable(listener.fd()));
    listener.disarm();
    CHECK_FALSE(readable(listener.fd()));
    listener.wake();
    CHECK(readable(listener.fd()));
    listener.disarm();
    listener.arm();
    journal->remove_listener(listener);
    REQUIRE(put(*journal, "gone"));
    CHECK_FALSE(readable(listener.fd()));
}

TEST_CASE("a listener is not woken by what is not yet visible") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    JournalListener listener;
    journal->add_listener(listener);
    listener.arm();
    auto a = journal->reserve(1, {});
    auto b = journal->reserve(1, {});
    REQUIRE((a && b));
    REQUIRE(journal->abandon(std::move(*b)));
    CHECK_FALSE(readable(listener.fd()));
    REQUIRE(journal->abandon(std::move(*a)));
    CHECK(readable(listener.fd()));
    journal->remove_listener(listener);
}

TEST_CASE("waiting ends with a commit, at the deadline, or when interrupted") {
    using namespace std::chrono_literals;
    const TempDir dir;
    const auto journal = open_journal(dir.fd());
    CHECK_FALSE(journal->wait_beyond(Lsn(), 1ms));
    bool grew = false;
    std::thread waiter([&] { grew = journal->wait_beyond(Lsn(), std::chrono::milliseconds::max()); });
    REQUIRE(put(*journal, "x"));
    waiter.join();
    CHECK(grew);
    CHECK(journal->wait_beyond(Lsn(), 0ms));

    std::thread interrupted([&] { grew = journal->wait_beyond(journal->tail(), 1h); });
    journal->interrupt();
    interrupted.join();
    CHECK_FALSE(grew);
}

TEST_CASE("interruption frees who waits for a slot") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd(), {.segment_bytes = 1024, .slots = 1});
    auto r = journal->reserve(1, {});
    REQUIRE(r);
    Errno error(0);
    std::thread waiter([&] {
        const auto second = journal->reserve(1, {});
        if (!second) error = second.error();
    });
    journal->interrupt();
    waiter.join();
    CHECK(error == Errno(ECANCELED));
    REQUIRE(journal->abandon(std::move(*r)));
}

TEST_CASE("sync makes durable what is committed, and waits for what is not") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd(), {.segment_bytes = 1 << 20});
    for (int i = 0; i < 100; ++i) REQUIRE(put(*journal, "some text"));
    REQUIRE(journal->sync(journal->tail()));
    CHECK(journal->durable() == journal->tail());

    auto r = journal->reserve(10, {});
    REQUIRE(r);
    const auto end = r->end();
    bool synced = false;
    std::thread waiter([&] { synced = journal->sync(end).has_value(); });
    CHECK(journal->durable() < end);
    REQUIRE(journal->abandon(std::move(*r)));
    waiter.join();
    CHECK(synced);
    CHECK(journal->durable() >= end);

    std::thread canceled([&] { synced = journal->sync(end + 1).has_value(); });
    journal->interrupt();
    canceled.join();
    CHECK_FALSE(synced);
}

}  // namespace tdfs::test

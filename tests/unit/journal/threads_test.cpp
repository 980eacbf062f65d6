// Many writers, readers that follow them, and everything else going on at once.
#include <poll.h>

#include <array>
#include <cstdio>
#include <thread>

#include "tests/unit/journal/support.hpp"

namespace tdfs::test {

namespace {

constexpr int kWriters = 4;
constexpr int kPerWriter = 1500;

std::string text_of(int writer, int number, std::size_t filling) {
    return std::to_string(writer) + " " + std::to_string(number) + " " +
           std::string(filling, static_cast<char>('a' + number % 26));
}

void write_all_of(Journal& journal, int writer, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int number = 0; number < kPerWriter; ++number) {
        const auto text = text_of(writer, number, random() % (number % 50 == 0 ? 20'000 : 300));
        auto r = journal.reserve(text.size() + random() % 20, as_bytes(text).first(3));
        TDFS_INVARIANT(r, "the journal takes reservations");
        if (random() % 10 == 0) std::this_thread::yield();
        const std::array<ByteView, 2> pieces{as_bytes(text).first(3), as_bytes(text).subspan(3)};
        const auto bytes = static_cast<std::uint32_t>(text.size());
        TDFS_INVARIANT(journal.commit(std::move(*r), 0, bytes, pieces), "a reservation can be committed");
        if (random() % 200 == 0) TDFS_INVARIANT(journal.sync(journal.tail()), "the journal can be synced");
    }
}

// Judges what one reader sees: each writer's records in that writer's order, none missing, none twice.
class Judge {
  public:
    void see(const FrameView& frame) {
        TDFS_INVARIANT(frame.header.lsn >= at_, "lsn go on");
        at_ = frame.header.lsn + frame.bytes.size();
        TDFS_INVARIANT(frame.header.time_ns >= time_ns_, "time goes on");
        time_ns_ = frame.header.time_ns;
        const std::string text(as_text(frame.payload));
        int writer = -1;
        int number = -1;
        TDFS_INVARIANT(std::sscanf(text.c_str(), "%d %d", &writer, &number) == 2, "a record says who wrote it");
        TDFS_INVARIANT(writer >= 0 && writer < kWriters && next_[writer]++ == number, "records come in order");
        ++seen_;
    }
    [[nodiscard]] bool done() const { return seen_ == kWriters * kPerWriter; }
    [[nodiscard]] Lsn at() const { return at_; }

  private:
    Lsn at_;
    std::uint64_t time_ns_ = 0;
    std::array<int, kWriters> next_{};
    int seen_ = 0;
};

void follow_by_waiting(Journal& journal, bool drop) {
    JournalReader reader(journal, Lsn());
    Judge judge;
    FrameView frame;
    while (!judge.done()) {
        const auto status = reader.next(frame);
        if (status == JournalReader::Status::kFrame) {
            judge.see(frame);
        } else {
            TDFS_INVARIANT(status == JournalReader::Status::kAtTail, "a follower meets frames and the tail only");
            journal.wait_beyond(reader.position(), std::chrono::seconds(10));
        }
        if (drop) TDFS_INVARIANT(journal.drop_before(reader.position()), "segments can be dropped");
    }
}

// As a sender does: views, pread, an eventfd.
void follow_by_listening(Journal& journal) {
    JournalListener listener;
    journal.add_listener(listener);
    Judge judge;
    Bytes bytes;
    while (!judge.done()) {
        auto view = journal.view(judge.at());
        TDFS_INVARIANT(view, "the position is retained");
        if (view->bytes == 0) {
            listener.arm();
            if (journal.tail() == judge.at()) {
                pollfd p{listener.fd(), POLLIN, 0};
                TDFS_INVARIANT(::poll(&p, 1, 60'000) == 1, "an armed listener is woken");
            }
            listener.disarm();
            continue;
        }
        bytes.resize(view->bytes);
        TDFS_INVARIANT(read_exact(view->fd, bytes, view->file_offset), "a view can be read");
        for (auto rest = ByteView(bytes); !rest.empty();) {
            const auto parsed = parse_frame(rest);
            TDFS_INVARIANT(parsed && parsed->complete(), "a view ends with a whole frame");
            judge.see(*parsed);
            rest = rest.subspan(parsed->bytes.size());
        }
    }
    journal.remove_listener(listener);
}

}  // namespace

TEST_CASE("followers see each record of all writers once and in order") {
    auto random = make_random();
    const TempDir dir;
    const bool drop = GENERATE(false, true);
    const auto journal = open_journal(dir.fd(), {.segment_bytes = 64 * 1024, .slots = 3});
    std::vector<std::thread> threads;
    if (drop) {
        threads.emplace_back([&] { follow_by_waiting(*journal, true); });
    } else {
        threads.emplace_back([&] { follow_by_waiting(*journal, false); });
        threads.emplace_back([&] { follow_by_listening(*journal); });
        threads.emplace_back([&] { follow_by_listening(*journal); });
    }
    for (int writer = 0; writer < kWriters; ++writer) {
        threads.emplace_back([&, writer, seed = random()] { write_all_of(*journal, writer, seed); });
    }
    for (auto& thread : threads) thread.join();
    REQUIRE(journal->sync(journal->tail()));
    REQUIRE(journal->close());
    const auto again = open_journal(dir.fd(), {.segment_bytes = 64 * 1024});
    CHECK(again->tail() == journal->tail());
    if (!drop) CHECK(texts(*again).size() == kWriters * kPerWriter);
}

TEST_CASE("who follows a spool sees it grow") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd(), {.segment_bytes = 64 * 1024});
    std::thread waiting([&] { follow_by_waiting(*journal, false); });
    std::thread listening([&] { follow_by_listening(*journal); });
    for (int number = 0; number < kPerWriter; ++number) {
        Bytes frames;
        for (int writer = 0; writer < kWriters; ++writer) {
            const auto frame = make_frame(FrameKind::kRecord, journal->tail() + frames.size(), 1,
                                          as_bytes(text_of(writer, number, static_cast<std::size_t>(number % 500))));
            frames.insert(frames.end(), frame.begin(), frame.end());
        }
        REQUIRE(journal->append(frames));
        if (number % 300 == 0) REQUIRE(journal->sync(journal->tail()));
    }
    waiting.join();
    listening.join();
}

TEST_CASE("many syncs at once agree") {
    const TempDir dir;
    const auto journal = open_journal(dir.fd(), {.segment_bytes = 16 * 1024});
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; ++i) {
        threads.emplace_back([&] {
            for (int n = 0; n < 30; ++n) {
                TDFS_INVARIANT(put(*journal, std::string(300, 'x')), "the journal takes records");
                const auto upto = journal->tail();
                TDFS_INVARIANT(journal->sync(upto), "the journal can be synced");
                TDFS_INVARIANT(journal->durable() >= upto, "what is synced is durable");
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(journal->durable() <= journal->tail());
}

}  // namespace tdfs::test

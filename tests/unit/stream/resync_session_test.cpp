// When the sessions resync, how it begins and ends, and that a slow replica whose position is gone is caught again.
#include <fcntl.h>

#include "common/os/file.hpp"
#include "tests/unit/stream/memory_link.hpp"

using namespace tdfs;
using namespace tdfs::test;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("a fresh replica is resynced, and then streams from where the resync ended") {
    TestJournal journal;
    journal.write(30, 200);
    const Lsn end_of_resync = journal->tail();
    FakeReplica replica;
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    REQUIRE(replica.resync_reasons() == std::vector<std::string>{"fresh replica"});
    REQUIRE(replica.spool_begin() == end_of_resync);
    REQUIRE(link.master().report().progress.files_done == 3);
    REQUIRE(link.master().report().hold_ms == 1.5);
    REQUIRE(link.master().report().resyncs == 1);
    journal.write(30, 200);
    REQUIRE(link.settle());
    REQUIRE(replica.received() == journal->tail());
    require_exact(journal, replica);
}

TEST_CASE("a resync that is cut off at any byte is begun again, and ends in an exact stream") {
    TestJournal journal;
    journal.write(3, 50);
    for (std::uint64_t k = 0;; ++k) {
        FakeReplica replica;
        MemoryLink link(journal, replica, [k](std::uint64_t offset, Bytes& bytes) {
            return std::min<std::uint64_t>(bytes.size(), k > offset ? k - offset : 0);
        });
        static_cast<void>(link.settle());
        const bool through = !link.cut();
        MemoryLink again(journal, replica);
        REQUIRE(again.settle());
        journal.write(1, 50);
        REQUIRE(again.settle());
        REQUIRE(replica.received() == journal->tail());
        require_exact(journal, replica);
        if (through) break;
    }
}

TEST_CASE("a position that the journal has dropped leads to a resync") {
    TestJournal journal;
    journal.write(50, 3000);
    const Lsn early = journal->oldest();
    REQUIRE(journal->drop_before(journal->tail()));
    REQUIRE(journal->oldest() > early);
    FakeReplica replica(early);
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    REQUIRE(replica.resync_reasons().size() == 1);
    REQUIRE_THAT(replica.resync_reasons()[0], ContainsSubstring("is older than the journal (oldest"));
}

TEST_CASE("a slow replica whose position is dropped under it is resynced on the same connection, at a frame boundary") {
    TestJournal journal;
    journal.write(50, 3000);
    FakeReplica replica(kFirst);
    MemoryLink link(journal, replica);
    link.journal_bytes_per_turn = 777;  // ends within frames
    while (replica.received() == kFirst) REQUIRE(link.turn());
    const Lsn reached = replica.received();
    link.slave_deaf = true;
    REQUIRE(link.settle());
    journal.write(100, 3000);
    REQUIRE(journal->drop_before(journal->tail()));
    REQUIRE(journal->oldest() > reached);
    link.slave_deaf = false;
    REQUIRE(link.settle());
    REQUIRE(replica.resync_reasons().size() == 1);
    REQUIRE_THAT(replica.resync_reasons()[0], ContainsSubstring("is older than the journal"));
    REQUIRE(replica.received() == journal->tail());
    journal.write(20, 100);
    REQUIRE(link.settle());
    REQUIRE(replica.received() == journal->tail());
    require_exact(journal, replica);
}

TEST_CASE("a replica that says its spool is damaged in the middle of the stream is resynced") {
    TestJournal journal;
    journal.write(5, 100);
    FakeReplica replica(kFirst);
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    replica.set_state(ReplicaState::kDamaged, "bad checksum at 1234");
    REQUIRE(link.settle());
    REQUIRE(replica.resync_reasons() == std::vector<std::string>{"spool damaged: bad checksum at 1234"});
    replica.set_state(ReplicaState::kStreaming);
    journal.write(5, 100);
    REQUIRE(link.settle());
    REQUIRE(replica.received() == journal->tail());
    REQUIRE(link.master().report().state == PeerStatus::State::kStreaming);
}

TEST_CASE("damage in the master's journal stops no replica for ever: it is resynced at that place") {
    TestJournal journal;
    journal.write(5, 100);
    const Lsn damaged = journal->tail();
    journal.write(5, 100);
    {
        const auto view = journal->view(damaged);
        REQUIRE(view);
        const std::string name = "/proc/self/fd/" + std::to_string(view->fd);
        const OwnFd fd(::open(name.c_str(), O_WRONLY | O_CLOEXEC));
        REQUIRE(fd);
        REQUIRE(write_all(fd.get(), as_bytes("?"), view->file_offset + kFrameHeaderBytes + 3));
    }
    FakeReplica replica(kFirst);
    {
        MemoryLink link(journal, replica);
        REQUIRE_FALSE(link.settle());
        REQUIRE_FALSE(link.slave().ended()->refused);
        REQUIRE(replica.received() == damaged);
    }
    MemoryLink again(journal, replica);
    REQUIRE(again.settle());
    REQUIRE(replica.resync_reasons().size() == 1);
    CHECK_THAT(replica.resync_reasons().front(),
               Catch::Matchers::ContainsSubstring("the master's journal is damaged at lsn " +
                                                  std::to_string(damaged.bytes())) &&
                   Catch::Matchers::ContainsSubstring(".seg at "));
    REQUIRE(replica.received() == journal->tail());
}

TEST_CASE("a local error of the replica ends the resync, and the master hears why") {
    TestJournal journal;
    FakeReplica replica;
    replica.fail_resync("No space left on device");
    MemoryLink link(journal, replica);
    REQUIRE_FALSE(link.settle());
    REQUIRE(link.master().ended()->refused);
    REQUIRE(link.master().ended()->text == "No space left on device");
}

TEST_CASE("a resync has more patience with silence, and is given a turn often") {
    class Mute : public FakeReplica {
      public:
        class Nothing : public ResyncRequester {
          public:
            Result<void, DecodeError> receive(MessageKind /*kind*/, ByteView /*payload*/) override { return {}; }
            bool produce(Bytes& /*out*/) override { return false; }
            [[nodiscard]] std::string failed() const override { return {}; }
        };
        std::unique_ptr<ResyncRequester> start_resync(const Hello& /*hello*/, const ResyncStart& /*start*/) override {
            return std::make_unique<Nothing>();
        }
    };
    TestJournal journal;
    Mute replica;
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    REQUIRE(link.master().report().state == PeerStatus::State::kResyncing);
    REQUIRE(link.master().next_tick_ns() == link.now().monotonic_ns + kResyncTickNs);
    link.advance(kResyncSilenceNs - 1);
    link.master().nothing_came(link.now());
    REQUIRE_FALSE(link.master().ended());
    link.advance(1);
    link.master().nothing_came(link.now());
    REQUIRE(link.master().ended());
}

// The two sessions back to back: what goes through the link is exactly the journal, whatever the link does to it.
#include "proto/record.hpp"
#include "tests/unit/stream/memory_link.hpp"

using namespace tdfs;
using namespace tdfs::test;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("a replica that was here before resumes from its position") {
    TestJournal journal;
    journal.write(20, 300);
    const Lsn middle = journal->tail();
    journal.write(500, 700);
    FakeReplica replica(middle);
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    REQUIRE(replica.received() == journal->tail());
    REQUIRE(replica.spool_begin() == middle);
    require_exact(journal, replica);
    REQUIRE(replica.resync_reasons().empty());
    REQUIRE(link.master().report().state == PeerStatus::State::kStreaming);
    REQUIRE(link.master().report().position_known);

    SECTION("and what is written later follows") {
        journal.write(30, 100);
        link.advance(kHeartbeatNs);
        REQUIRE(link.settle());
        REQUIRE(replica.received() == journal->tail());
        require_exact(journal, replica);
        REQUIRE(link.master().report().applied == journal->tail());
        REQUIRE(replica.heard_tail() == journal->tail());
    }
}

TEST_CASE("a link cut after every k-th byte resumes without a gap and without a double") {
    TestJournal journal;
    journal.write(8, 90);
    FakeReplica replica(kFirst);
    std::uint64_t connections = 0;
    // Grows, or nothing would ever get past the handshake.
    for (std::uint64_t k = 0; replica.received() != journal->tail(); ++k) {
        if (k % 100 == 99) journal.write(1, 60);
        MemoryLink link(journal, replica, [k](std::uint64_t offset, Bytes& bytes) {
            return std::min<std::uint64_t>(bytes.size(), k > offset ? k - offset : 0);
        });
        static_cast<void>(link.settle());
        ++connections;
        require_exact(journal, replica);
    }
    REQUIRE(connections > 100);
    REQUIRE(replica.spool_begin() == kFirst);
    REQUIRE(replica.spool() == journal.all());
    REQUIRE(replica.resync_reasons().empty());
}

TEST_CASE("a byte flipped on the way is never taken over and is fetched again") {
    TestJournal journal;
    journal.write(6, 80);
    FakeReplica counting(kFirst);
    MemoryLink whole(journal, counting);
    REQUIRE(whole.settle());
    for (std::uint64_t at = 0; at < whole.bytes_to_slave(); ++at) {
        FakeReplica replica(kFirst);
        MemoryLink link(journal, replica, [at](std::uint64_t offset, Bytes& bytes) {
            if (at >= offset && at - offset < bytes.size()) bytes[at - offset] ^= std::byte{0x10};
            return bytes.size();
        });
        static_cast<void>(link.settle());
        require_exact(journal, replica);
        MemoryLink again(journal, replica);
        REQUIRE(again.settle());
        REQUIRE(replica.spool() == journal.all());
    }
}

TEST_CASE("bytes that come one at a time make the same stream") {
    TestJournal journal;
    journal.write(10, 200);
    FakeReplica replica(kFirst);
    MemoryLink link(journal, replica);
    link.journal_bytes_per_turn = 1;
    REQUIRE(link.settle());
    REQUIRE(replica.spool() == journal.all());
}

TEST_CASE("random cuts, flips and writes end in the same journal") {
    const std::uint64_t random_seed = seed();
    INFO("TDFS_SEED=" << random_seed);
    std::mt19937_64 random(random_seed);
    TestJournal journal;
    FakeReplica replica;
    for (int round = 0; round < 150; ++round) {
        journal.write(random() % 20, 1 + random() % 3000);
        const std::uint64_t when = random() % 60'000;
        const bool flip = random() % 2 == 0;
        MemoryLink link(journal, replica, [=](std::uint64_t offset, Bytes& bytes) -> std::size_t {
            if (when < offset || when - offset >= bytes.size()) return bytes.size();
            if (!flip) return when - offset;
            bytes[when - offset] ^= std::byte{1};
            return bytes.size();
        });
        link.journal_bytes_per_turn = 1 + random() % 5000;
        static_cast<void>(link.settle());
        require_exact(journal, replica);
    }
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    REQUIRE(replica.received() == journal->tail());
    require_exact(journal, replica);
}

TEST_CASE("a frame with the wrong lsn ends the session and is not taken") {
    TestJournal journal;
    FakeReplica replica(kFirst);
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    const Bytes good = make_frame(FrameKind::kRecord, kFirst, 0, as_bytes("good"));
    const Bytes wrong = make_frame(FrameKind::kRecord, kFirst + good.size() + 8, 0, as_bytes("wrong"));
    Bytes both = good;
    both.insert(both.end(), wrong.begin(), wrong.end());
    link.deliver(both);
    REQUIRE(link.slave().ended());
    REQUIRE_FALSE(link.slave().ended()->refused);
    REQUIRE_THAT(link.slave().ended()->text, ContainsSubstring("wrong place"));
    REQUIRE(replica.spool() == good);
}

TEST_CASE("the master refuses a replica of another format or volume in words, and the replica hears them") {
    class Stranger : public FakeReplica {
      public:
        Result<Welcome, std::string> welcome(const Hello& hello) override {
            auto w = FakeReplica::welcome(hello);
            change(*w);
            return w;
        }
        std::function<void(Welcome&)> change;
    };
    TestJournal journal;
    Stranger replica;
    std::string words;
    SECTION("format") {
        replica.change = [](Welcome& w) { w.format ^= 1; };
        words = "same version of tdfs";
    }
    SECTION("version") {
        replica.change = [](Welcome& w) { w.version = 99; };
        words = "protocol version 99";
    }
    SECTION("volume") {
        replica.change = [](Welcome& w) {
            w.volume.bytes[3] = std::byte{9};
            w.state = ReplicaState::kStreaming;
        };
        words = "the replica holds volume";
    }
    MemoryLink link(journal, replica);
    REQUIRE_FALSE(link.settle());
    REQUIRE(link.master().ended());
    REQUIRE(link.master().ended()->refused);
    REQUIRE_THAT(link.master().ended()->text, ContainsSubstring(words));
    link.deliver(link.master().out());
    REQUIRE(link.slave().ended());
    REQUIRE(link.slave().ended()->refused);
    REQUIRE(link.slave().ended()->text == link.master().ended()->text);
}

TEST_CASE("what the replica refuses reaches the master in its words") {
    TestJournal journal;
    journal.write(5, 100);
    FakeReplica replica(kFirst);
    SECTION("at the welcome") { replica.refuse_welcome("not\nyou"); }
    SECTION("when it cannot take frames") { replica.fail_receive("not you"); }
    MemoryLink link(journal, replica);
    REQUIRE_FALSE(link.settle());
    REQUIRE(link.master().ended());
    REQUIRE(link.master().ended()->refused);
    REQUIRE_THAT(link.master().ended()->text, Catch::Matchers::Equals("not you") || Catch::Matchers::Equals("not?you"));
    REQUIRE(link.slave().ended()->refused);
    REQUIRE(replica.spool().empty());
}

TEST_CASE("silence ends a session on either side, heartbeats keep it") {
    TestJournal journal;
    FakeReplica replica(kFirst);
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    for (int second = 0; second < 60; ++second) {
        link.advance(kHeartbeatNs);
        REQUIRE(link.settle());
    }
    REQUIRE(link.master().report().acks >= 60);
    link.advance(kSilenceNs);
    link.master().nothing_came(link.now());
    link.slave().nothing_came(link.now());
    REQUIRE_THAT(link.master().ended()->text, ContainsSubstring("no sign of life"));
    REQUIRE_THAT(link.slave().ended()->text, ContainsSubstring("no sign of life"));
}

TEST_CASE("a length that was damaged on the way ends the session at once: heartbeats would fill it for hours") {
    TestJournal journal;
    FakeReplica replica(kFirst);
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    const bool at_the_slave = GENERATE(true, false);
    const auto kind = at_the_slave ? FrameKind::kRecord : static_cast<FrameKind>(MessageKind::kAck);
    Bytes frame = make_frame(kind, at_the_slave ? kFirst : Lsn(), 0, as_bytes("payload"));
    for (const std::size_t length_at : {24, 28}) frame[length_at + 1] ^= std::byte{0x04};  // 1 KiB more, stored and raw
    at_the_slave ? link.deliver(frame) : link.answer(frame);
    const auto& end = at_the_slave ? link.slave().ended() : link.master().ended();
    REQUIRE(end);
    REQUIRE_FALSE(end->refused);
    REQUIRE_THAT(end->text, ContainsSubstring("damaged"));
}

TEST_CASE("a slave that does not answer the hello is given up") {
    TestJournal journal;
    const auto vol = volume();
    const std::string name = "m";
    const auto make = responders(journal);
    PublisherSession session(*journal, vol, name, make, {});
    REQUIRE(session.next_tick_ns() == kSilenceNs);
    session.nothing_came({kSilenceNs - 1, 0});
    REQUIRE_FALSE(session.ended());
    session.nothing_came({kSilenceNs, 0});
    REQUIRE(session.ended());
}

TEST_CASE("time in which nobody listened is no silence") {
    TestJournal journal;
    FakeReplica replica(kFirst);
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    link.advance(10 * kSilenceNs);  // both were busy; what was said meanwhile is still to be read
    link.master().tick(link.now());
    link.slave().tick(link.now());
    REQUIRE(link.settle());
    link.master().nothing_came(link.now());
    link.slave().nothing_came(link.now());
    REQUIRE_FALSE(link.master().ended());
    REQUIRE_FALSE(link.slave().ended());
}

TEST_CASE("a slave that is busy says no more than that") {
    TestJournal journal;
    FakeReplica replica(kFirst);
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    const auto before = link.master().report();
    link.advance(kSilenceNs - 1);
    link.answer(message(MessageKind::kHeartbeat, encode(Heartbeat{}), 0));
    link.advance(kSilenceNs - 1);
    link.master().nothing_came(link.now());
    REQUIRE_FALSE(link.master().ended());
    REQUIRE(link.master().report().acks == before.acks);
    REQUIRE(link.master().report().received == before.received);
}

TEST_CASE("a stalled replica is streamed to, and its reason is reported") {
    TestJournal journal;
    FakeReplica replica(kFirst);
    replica.set_state(ReplicaState::kStalled, "No space left on device");
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    journal.write(10, 100);
    REQUIRE(link.settle());
    REQUIRE(replica.received() == journal->tail());
    REQUIRE(link.master().report().state == PeerStatus::State::kStalled);
    REQUIRE(link.master().report().detail == "No space left on device");
    replica.set_state(ReplicaState::kStreaming);
    REQUIRE(link.settle());
    REQUIRE(link.master().report().state == PeerStatus::State::kStreaming);
    REQUIRE(link.master().report().detail.empty());
}

TEST_CASE("a replica that takes no frames still acknowledges, is not called dead, and goes on where it was") {
    TestJournal journal;
    FakeReplica replica(kFirst);
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    replica.set_accepts(false);
    journal.write(20, 100);
    REQUIRE(link.settle());
    REQUIRE(replica.received() == kFirst);
    REQUIRE_FALSE(link.slave().wants_input());
    const auto acks = link.master().report().acks;
    link.slave_deaf = true;
    for (int second = 0; second < 30; ++second) {
        link.advance(kHeartbeatNs);
        link.slave().tick(link.now());
        link.answer(link.slave().out());
        link.slave().sent(link.slave().out().size());
    }
    REQUIRE_FALSE(link.slave().ended());
    REQUIRE_FALSE(link.master().ended());
    REQUIRE(link.master().report().acks >= acks + 29);
    link.slave_deaf = false;
    replica.set_accepts(true);
    REQUIRE(link.settle());
    REQUIRE(replica.spool() == journal.all());
}

TEST_CASE("an acknowledgement of what was never sent ends the session") {
    TestJournal journal;
    FakeReplica replica(kFirst);
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    Ack ack;
    ack.received = journal->tail() + 1;
    link.answer(message(MessageKind::kAck, encode(ack), 0));
    REQUIRE(link.master().ended());
    REQUIRE_THAT(link.master().ended()->text, ContainsSubstring("sent was only"));
}

TEST_CASE("messages out of turn end the session on either side") {
    TestJournal journal;
    journal.write(3, 50);
    FakeReplica replica(kFirst);
    MemoryLink link(journal, replica);
    REQUIRE(link.settle());
    SECTION("a question without a resync") { link.answer(message(MessageKind::kStat, encode(StatRequest{"a"}), 0)); }
    SECTION("a second welcome") { link.answer(message(MessageKind::kWelcome, encode(Welcome{}), 0)); }
    SECTION("journal frames from the slave") { link.answer(journal.all()); }
    SECTION("an answer without a question") { link.deliver(message(MessageKind::kRangeEnd, encode(RangeEnd{}), 0)); }
    SECTION("a resume within the stream") { link.deliver(message(MessageKind::kResume, encode(Resume{}), 0)); }
    SECTION("a second hello") { link.deliver(message(MessageKind::kHello, encode(Hello{}), 0)); }
    SECTION("noise") { link.deliver(as_bytes(std::string(200, 'x'))); }
    REQUIRE((link.master().ended().has_value() || link.slave().ended().has_value()));
    REQUIRE(replica.spool() == journal.all());
}

TEST_CASE("a hello must be bounded, alone, uncompressed and a hello") {
    Hello hello;
    hello.format = format_hash();
    hello.volume = volume().id;
    hello.history = volume().history;
    const auto read = [](const Bytes& bytes) {
        FrameBuffer door(64, kMaxHelloBytes);
        for (ByteView rest(bytes); !rest.empty();) {
            const auto space = door.space();
            const std::size_t n = std::min(space.size(), rest.size());
            std::copy_n(rest.begin(), n, space.begin());
            door.filled(n);
            rest = rest.subspan(n);
            auto result = read_hello(door);
            if (!result || *result) return std::string(result ? "hello" : result.error().what);
        }
        return std::string("more");
    };
    const Bytes good = message(MessageKind::kHello, encode(hello), 0);
    REQUIRE(read(good) == "hello");
    for (std::size_t n = 0; n < good.size(); ++n)
        REQUIRE(read(Bytes(good.begin(), good.begin() + static_cast<long>(n))) == "more");
    hello.history.assign(kMaxEpochs, {kEpoch, kFirst});
    hello.name.assign(kMaxTextBytes, 'n');
    REQUIRE(read(message(MessageKind::kHello, encode(hello), 0)) == "hello");
    REQUIRE(read(message(MessageKind::kHello, encode(hello), 0, true)) != "hello");
    REQUIRE(read(message(MessageKind::kWelcome, encode(Welcome{}), 0)) != "hello");
    REQUIRE(read(make_frame(FrameKind::kRecord, Lsn(), 0, Bytes(kMaxHelloBytes))) == "frame is too large");
    REQUIRE_THAT(read(Bytes(48, std::byte{'G'})), ContainsSubstring("no frame"));
}

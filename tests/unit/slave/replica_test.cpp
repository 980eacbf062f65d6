#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/slave/replica_world.hpp"

using namespace tdfs;
using namespace tdfs::test;

TEST_CASE("a fresh replica follows only after a resync") {
    World w;
    CHECK(w.welcome().state == ReplicaState::kFresh);
    CHECK_FALSE(w.welcome().volume.valid());
    CHECK_FALSE(w.replica->resume(w.hello, {{kEpoch, Lsn(kStart)}}).has_value());
    CHECK_FALSE(w.replica->receive(frame_of(file_at("f"), Lsn(0))).has_value());

    w.resync();
    CHECK(tree_differences(w.want, w.root) == "");
    const auto welcome = w.welcome();
    CHECK(welcome.state == ReplicaState::kStreaming);
    CHECK(welcome.volume == w.hello.volume);
    CHECK(welcome.epoch == kEpoch);
    CHECK(welcome.received == Lsn(kStart));

    w.receive(file_at("f"));
    w.receive(write_at("f", "new"));
    w.wait_applied();
    CHECK(get(w.root + "/f") == "new");
    CHECK(get(w.root + "/old") == "from before");
    wait_until([&] { return readable(w.replica->ack_event()); });
    const auto ack = w.replica->ack();
    CHECK(ack.state == ReplicaState::kStreaming);
    CHECK(ack.received == w.replica->spool().tail());
    CHECK(ack.applied == ack.received);
    CHECK(ack.applied_time_ns != 0);
}

TEST_CASE("a replica of another volume refuses, names both, and says what to do") {
    World w;
    w.resync();
    Hello other = w.hello;
    other.volume = VolumeId::random();
    other.name = "stranger";
    const auto refused = w.replica->welcome(other);
    REQUIRE_FALSE(refused.has_value());
    for (const auto& part :
         {w.hello.volume.text(), other.volume.text(), std::string("stranger"), std::string("--adopt")}) {
        CHECK_THAT(refused.error(), Catch::Matchers::ContainsSubstring(part));
    }
}

TEST_CASE("a replica resumes by position after a stop and after a kill") {
    World w;
    w.resync();
    w.receive(file_at("a"));
    w.wait_applied();
    SECTION("stop") { w.stop(); }
    SECTION("kill") { w.kill(); }
    SECTION("stop, then a reboot") {
        w.stop();
        w.change_identity([](Identity& identity) { identity.boot = "an earlier boot"; });
    }
    w.start();
    const auto welcome = w.welcome();
    CHECK(welcome.state == ReplicaState::kStreaming);
    CHECK(welcome.received > Lsn(kStart));
    CHECK(welcome.epoch == kEpoch);
    CHECK_FALSE(w.replica->resume(w.hello, {{kEpoch, welcome.received + 1}}).has_value());
    need(w.replica->resume(w.hello, {{kEpoch, welcome.received}}));
    w.receive(file_at("b"));
    w.wait_applied();
    CHECK(exists(w.root + "/a"));
    CHECK(exists(w.root + "/b"));
}

TEST_CASE("what was received and not applied is applied after a restart") {
    World w;
    w.resync();
    put(w.root + "/a", "in the way");
    w.receive(file_at("a"));
    w.receive(file_at("b"));
    wait_until([&] { return w.replica->ack().state == ReplicaState::kStalled; });
    CHECK_THAT(w.replica->ack().error, Catch::Matchers::ContainsSubstring("File exists"));
    w.stop();
    REQUIRE(::unlink((w.root + "/a").c_str()) == 0);
    w.start();
    w.wait_applied();
    CHECK(exists(w.root + "/b"));
}

TEST_CASE("a stream of a history on which the replica's position does not lie is refused") {
    World w;
    w.resync();
    w.receive(file_at("a"));
    const auto at = w.replica->spool().tail();
    Hello other = w.hello;
    other.history = {{Epoch(0x2222), Lsn(kStart)}};
    CHECK_FALSE(w.replica->resume(other, {{Epoch(0x2222), at}}).has_value());
    Hello behind = w.hello;
    behind.tail = Lsn(kStart);
    CHECK_FALSE(w.replica->resume(behind, {{kEpoch, at}}).has_value());
    need(w.replica->resume(w.hello, {{kEpoch, at}}));
}

TEST_CASE("a paused replica receives and applies nothing, and no resync changes it") {
    World w;
    w.resync();
    need(w.replica->pause());
    w.receive(file_at("a"));
    CHECK(w.replica->ack().state == ReplicaState::kPaused);
    CHECK(w.replica->ack().received > w.replica->ack().applied);
    const auto requester = w.replica->start_resync(w.hello, ResyncStart{"test", false, Lsn(kStart)});
    REQUIRE(requester);
    CHECK_THAT(requester->failed(), Catch::Matchers::ContainsSubstring("tdfsctl resume"));
    CHECK(w.replica->ack().state == ReplicaState::kPaused);
    CHECK_FALSE(exists(w.root + "/a"));
    w.kill();
    w.start();
    CHECK(w.welcome().state == ReplicaState::kPaused);
    need(w.replica->resume_applying());
    w.wait_applied();
    CHECK(exists(w.root + "/a"));
}

// An answer that came meanwhile was not taken in, and nobody would send it again.
TEST_CASE("a try of a resync that met a pause ends, even if it is resumed at once") {
    World w;
    const auto requester = w.replica->start_resync(w.hello, ResyncStart{"test", false, Lsn(kStart)});
    REQUIRE(requester);
    REQUIRE(requester->failed() == "");
    need(w.replica->pause());
    Bytes questions;
    CHECK_FALSE(requester->produce(questions));
    need(w.replica->resume_applying());
    CHECK_THAT(requester->failed(), Catch::Matchers::ContainsSubstring("paused"));
    w.resync();
    CHECK(w.welcome().state == ReplicaState::kStreaming);
}

TEST_CASE("a new epoch is taken over with the resume that tells of it") {
    World w;
    w.resync();
    w.receive(file_at("a"));
    const auto at = w.replica->spool().tail();
    Hello later = w.hello;
    later.history.push_back({Epoch(0x2222), at});
    CHECK(w.welcome().epoch == kEpoch);
    need(w.replica->resume(later, {{Epoch(0x2222), at}}));
    CHECK(w.welcome().epoch == Epoch(0x2222));
    w.stop();
    w.start();
    CHECK(w.welcome().epoch == Epoch(0x2222));
}

TEST_CASE("a full spool makes the master wait, and nothing is lost") {
    World w;
    w.kill();
    w.options.spool_limit_bytes = 10'000;
    w.start();
    w.resync();
    put(w.root + "/f", "in the way");
    CHECK(w.replica->accepts());
    w.receive(file_at("f"));
    while (w.replica->accepts()) w.receive(write_at("f", "0123456789"));
    CHECK(w.replica->ack().received - w.replica->ack().applied > 10'000);
    REQUIRE(::unlink((w.root + "/f").c_str()) == 0);
    wait_until([&] { return w.replica->accepts(); });
    w.wait_applied();
    CHECK(get(w.root + "/f") == "0123456789");
}

TEST_CASE("an fsync on the master makes the spool durable soon") {
    World w;
    w.resync();
    w.receive(file_at("f"));
    CHECK(w.replica->ack().durable < w.replica->ack().received);
    w.receive(SyncRecord{});
    wait_until([&] { return w.replica->ack().durable == w.replica->ack().received; });
}

TEST_CASE("a position can be waited for") {
    World w;
    using std::chrono::milliseconds;
    const auto never = [] { return false; };
    w.resync();
    w.receive(file_at("f"));
    const auto tail = w.replica->spool().tail();
    CHECK(w.replica->wait_applied({kEpoch, tail}, milliseconds(60'000), never) == Replica::Waited::kApplied);
    CHECK(w.replica->wait_applied({kEpoch, tail + 1}, milliseconds(1), never) == Replica::Waited::kTimedOut);
    CHECK(w.replica->wait_applied({Epoch(9), tail}, milliseconds(1), never) == Replica::Waited::kUnknown);
    CHECK(w.replica->wait_applied({kEpoch, tail + 1}, milliseconds(60'000), [] { return true; }) ==
          Replica::Waited::kCancelled);
    std::thread writer([&] {
        const auto frame = frame_of(file_at("g"), tail);
        static_cast<void>(w.replica->receive(frame));
    });
    CHECK(w.replica->wait_applied({kEpoch, tail + 1}, milliseconds(60'000), never) == Replica::Waited::kApplied);
    writer.join();
}

TEST_CASE("status tells what happens") {
    World w;
    CHECK(w.replica->status().state == ReplicaState::kFresh);
    w.resync();
    w.replica->heartbeat(Lsn(kStart + 77), 123);
    w.receive(file_at("f"));
    w.wait_applied();
    const auto s = w.replica->status();
    CHECK(s.state == ReplicaState::kStreaming);
    CHECK(s.volume == w.hello.volume);
    CHECK(s.epoch == kEpoch);
    CHECK(s.master_tail == Lsn(kStart + 77));
    CHECK(s.applied.lsn == s.received);
    CHECK(s.replay.records == 1);
    CHECK(s.resyncs == 1);
    CHECK(s.resync_reason == "test");
    CHECK(s.spool_bytes > 0);
}

TEST_CASE("spool and replay on one full disk do not wait for each other") {
    World w("2m");
    if (!w.small_disk) {
        WARN("mounting is not allowed here: skipped");
        return;
    }
    w.resync();
    w.receive(file_at("f"));
    const std::string content(30'000, 'c');
    // What the disk has room for, several times over: the same bytes are written again and again.
    const auto receive_all = [&](std::size_t records) {
        for (std::size_t i = 0; i < records; ++i) {
            wait_until([&] { return w.replica->accepts(); });
            w.receive(write_at("f", content, (i % 4) * content.size()));
        }
    };
    SECTION("what is applied leaves the spool before its time where space is short") {
        receive_all(400);
        w.wait_applied();
        CHECK(w.replica->ack().state == ReplicaState::kStreaming);
    }
    SECTION("a disk that somebody else has filled holds up the master, says so, and needs nothing but space") {
        OwnFd ballast(::open((w.root + "/.tdfs/ballast").c_str(), O_RDWR | O_CREAT, 0600));
        const std::string page(4096, 'b');
        while (::write(ballast.get(), page.data(), page.size()) > 0) {
        }
        int received = 0;
        while (w.replica->accepts()) w.receive(write_at("f", content, (received++ % 4) * content.size()));
        CHECK(received < 100);
        const auto ack = w.replica->ack();
        CHECK(ack.state == ReplicaState::kStalled);
        CHECK_THAT(ack.error, Catch::Matchers::ContainsSubstring("No space left"));
        REQUIRE(::ftruncate(ballast.get(), 0) == 0);
        receive_all(400);
        w.wait_applied();
        wait_until([&] { return w.replica->ack().state == ReplicaState::kStreaming; });
    }
    CHECK(get(w.root + "/f").substr(0, content.size()) == content);
}

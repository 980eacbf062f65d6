#include "slave/replica.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "common/os/file.hpp"
#include "common/resync/source.hpp"
#include "proto/record.hpp"
#include "tests/support/tree_compare.hpp"
#include "tests/unit/slave/spool_fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

const Epoch kEpoch(0x1111);
constexpr std::uint64_t kStart = 5000;  // where the master's journal stands

class NoWriters : public WriterHold {
  public:
    explicit NoWriters(Journal& journal) : journal_(journal) {}
    Lsn hold() override { return journal_.tail(); }
    void release() override {}

  private:
    Journal& journal_;
};

// A master that does not change, and a slave's directories; runs of the slave come and go.
struct World {
    // `disk_size`: the replica and its state are on a file system of their own, in a mount namespace of this process.
    explicit World(const std::string& disk_size = {}) {
        if (!disk_size.empty()) {
            small_disk = ::unshare(CLONE_NEWNS) == 0 &&
                         ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                         ::mount("none", root.c_str(), "tmpfs", 0, ("size=" + disk_size).c_str()) == 0;
            root_fd = open_dir(root);
        }
        prepare();
    }
    ~World() {
        kill();
        root_fd.reset();
        if (small_disk) ::umount2(root.c_str(), MNT_DETACH);
    }
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    TempDir dir;
    bool small_disk = false;
    std::string want = dir.dir("want"), root = dir.dir("replica"), master_state = dir.dir("master_state");
    OwnFd want_fd = open_dir(want), root_fd = open_dir(root), master_fd = open_dir(master_state);
    std::unique_ptr<Journal> journal = open_spool(master_fd.get(), Lsn(kStart));
    NoWriters writers{*journal};
    Hello hello;
    ReplicaOptions options;
    std::unique_ptr<StateDir> state;
    std::unique_ptr<Replica> replica;

    void prepare() {
        hello.format = format_hash();
        hello.volume = VolumeId::random();
        hello.history = {{kEpoch, Lsn(kStart)}};
        hello.tail = Lsn(1ull << 40);
        hello.name = "master";
        options.name = "slave";
        options.spool = small_spool();
        options.checkpoints.sync_every_ms = 3'600'000;
        options.checkpoints.checkpoint_every_ms = 3'600'000;
        put(want + "/old", "from before");
        start();
    }
    void start() {
        auto opened = StateDir::open(root_fd.get(), root, "", Role::kSlave);
        if (!opened) FAIL(opened.error());
        state = std::move(*opened);
        auto r = Replica::open(root_fd.get(), *state, options);
        if (!r) FAIL(r.error());
        replica = std::move(*r);
        need(replica->start());
    }
    void kill() {  // as far as the files can tell
        replica.reset();
        state.reset();
    }
    void stop() {
        need(replica->stop());
        kill();
    }
    void change_identity(const std::function<void(Identity&)>& change) {
        auto opened = StateDir::open(root_fd.get(), root, "", Role::kSlave);
        if (!opened) FAIL(opened.error());
        auto identity = (*opened)->identity();
        change(identity);
        need((*opened)->save(identity));
    }

    // As if the machine had gone down since: what is not durable in `applied` is lost too.
    void lose_power(const std::string& boot) {
        kill();
        change_identity([&](Identity& identity) { identity.boot = boot; });
        need(AppliedState::open(open_dir(root + "/.tdfs").get(), boot));
    }

    Welcome welcome() { return need(replica->welcome(hello)); }
    // Carries messages between the two sides until the source is through.
    void resync(bool full = false) {
        ResyncSource source(want_fd.get(), *journal, kEpoch, writers, {"test", full, {}});
        auto sink = replica->start_resync(hello, {"test", full, journal->tail()});
        REQUIRE(sink != nullptr);
        for (int turn = 0; turn < 10'000 && !source.finished(); ++turn) {
            Bytes questions, answers;
            sink->produce(questions);
            REQUIRE(sink->failed() == "");
            deliver(questions, [&](MessageKind kind, ByteView payload) {
                if (kind != MessageKind::kProgress) REQUIRE(source.receive(kind, payload).has_value());
            });
            source.produce(answers);
            deliver(answers,
                    [&](MessageKind kind, ByteView payload) { REQUIRE(sink->receive(kind, payload).has_value()); });
        }
        REQUIRE(source.finished());
        const auto at = *source.finished();
        sink.reset();
        need(replica->resume(hello, {at}));
    }
    static void deliver(ByteView frames, const std::function<void(MessageKind, ByteView)>& to) {
        Bytes scratch;
        while (!frames.empty()) {
            const auto frame = parse_frame(frames);
            REQUIRE(frame.has_value());
            REQUIRE(frame->complete());
            const auto payload = raw_payload(*frame, scratch);
            REQUIRE(payload.has_value());
            to(static_cast<MessageKind>(frame->header.kind), *payload);
            frames = frames.subspan(frame->bytes.size());
        }
    }
    void receive(const Record& r) { need(replica->receive(frame_of(r, replica->spool().tail()))); }
    void wait_applied() {
        wait_until([this] { return replica->ack().applied == replica->spool().tail(); });
    }
};

bool readable(int fd) {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, 0) == 1;
}

}  // namespace

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

TEST_CASE("after a power loss a resync is needed, whatever happens before it") {
    World w;
    w.resync();
    w.receive(file_at("a"));
    w.wait_applied();
    w.kill();
    w.change_identity([](Identity& identity) { identity.boot = "an earlier boot"; });
    w.start();
    CHECK(w.welcome().state == ReplicaState::kDamaged);
    CHECK_THAT(w.replica->ack().error, Catch::Matchers::ContainsSubstring("clean stop"));
    CHECK(w.replica->ack().received == Lsn(0));
    CHECK_FALSE(w.replica->resume(w.hello, {{kEpoch, w.replica->spool().tail()}}).has_value());
    SECTION("at once") {}
    SECTION("after a kill") {
        w.kill();
        w.start();
        CHECK(w.welcome().state == ReplicaState::kDamaged);
    }
    SECTION("after a stop") {
        w.stop();
        w.start();
        CHECK(w.welcome().state == ReplicaState::kDamaged);
    }
    w.resync();
    CHECK(w.welcome().state == ReplicaState::kStreaming);
    CHECK(tree_differences(w.want, w.root) == "");
}

TEST_CASE("after a power loss a replica tells up to where it is whole, until a resync is through") {
    World w;
    w.resync();
    w.receive(file_at("a"));
    w.wait_applied();
    w.stop();  // what was applied is durable
    w.start();
    const auto whole = w.replica->ack().applied;
    REQUIRE(whole > Lsn(kStart));
    w.receive(file_at("b"));
    w.wait_applied();
    w.lose_power("an earlier boot");
    const auto told = [&] {
        const auto welcome = w.welcome();
        return welcome.state == ReplicaState::kDamaged && welcome.durable == whole && welcome.epoch == kEpoch;
    };
    w.start();
    CHECK(told());
    SECTION("after another power loss") {
        w.lose_power("another boot");
        w.start();
        CHECK(told());
    }
    SECTION("after a resync that was cut off, and a power loss") {
        w.replica->start_resync(w.hello, {"test", false, Lsn(kStart)}).reset();
        CHECK_FALSE(w.replica->status().resync_full);
        CHECK(told());
        w.lose_power("another boot");
        w.start();
        CHECK(told());
    }
    SECTION("until all contents have to be compared anyway") {
        w.replica->start_resync(w.hello, {"test", true, Lsn(kStart)}).reset();
        CHECK(w.welcome().durable == Lsn());
        w.kill();
        w.start();
        CHECK(w.welcome().durable == Lsn());
        CHECK(w.welcome().state == ReplicaState::kDamaged);
    }
    w.resync();
    CHECK(w.welcome().state == ReplicaState::kStreaming);
    w.kill();
    w.start();
    CHECK(w.welcome().state == ReplicaState::kStreaming);
}

TEST_CASE("after a power loss on either side contents are compared, whatever sizes and times say") {
    World w;
    w.resync();
    CHECK_FALSE(w.replica->status().resync_full);
    const auto mtime = stat_at(w.root_fd.get(), "old").value().mtime_ns;
    put(w.root + "/old", "from befora");
    REQUIRE(set_mtime_at(w.root_fd.get(), "old", mtime));
    SECTION("here") {
        w.kill();
        w.change_identity([](Identity& identity) { identity.boot = "an earlier boot"; });
        w.start();
        w.replica->start_resync(w.hello, {"the journal does not say what changed", true, Lsn(kStart)}).reset();
    }
    SECTION("at the master") { w.hello.history.push_back({Epoch(0x2222), Lsn(kStart)}); }
    SECTION("at the master, with the resync cut off and the slave killed") {
        w.hello.history.push_back({Epoch(0x2222), Lsn(kStart)});
        w.replica->start_resync(w.hello, {"test", false, Lsn(kStart)}).reset();
        w.kill();
        w.start();
    }
    w.resync();
    CHECK(w.replica->status().resync_full);
    CHECK(tree_differences(w.want, w.root) == "");
    w.resync();
    CHECK_FALSE(w.replica->status().resync_full);
}

TEST_CASE("a resync that was cut off is not forgotten") {
    World w;
    w.resync();
    auto sink = w.replica->start_resync(w.hello, {"test", false, Lsn(kStart)});
    CHECK(w.replica->ack().state == ReplicaState::kResyncing);
    CHECK_FALSE(w.replica->receive(frame_of(file_at("f"), Lsn(kStart))).has_value());
    sink.reset();
    CHECK(w.welcome().state == ReplicaState::kResyncing);
    SECTION("kill") { w.kill(); }
    SECTION("stop") { w.stop(); }
    w.start();
    CHECK(w.welcome().state == ReplicaState::kResyncing);
    w.resync();
    CHECK(w.welcome().state == ReplicaState::kStreaming);
}

TEST_CASE("a resync leaves nothing on the stage") {
    World w;
    w.resync();
    w.receive(file_at(".tdfs/stage/1"));
    w.wait_applied();
    w.resync();
    CHECK_FALSE(exists(w.root + "/.tdfs/stage/1"));
    CHECK(exists(w.root + "/.tdfs/stage"));
}

TEST_CASE("a lost or wrong applied position needs a resync") {
    World w;
    w.resync();
    w.receive(file_at("a"));
    w.wait_applied();
    w.stop();
    SECTION("lost") { REQUIRE(::unlink((w.root + "/.tdfs/applied").c_str()) == 0); }
    SECTION("overwritten") { put(w.root + "/.tdfs/applied", std::string(4096, 'x')); }
    w.start();
    CHECK(w.welcome().state == ReplicaState::kDamaged);
}

TEST_CASE("a damaged spool is told, takes nothing more, and is mended by a resync") {
    World w;
    w.resync();
    need(w.replica->receive(frames_of({Bytes(10, std::byte{0x7f})}, w.replica->spool().tail())));
    wait_until([&] { return w.replica->ack().state == ReplicaState::kDamaged; });
    CHECK(w.welcome().state == ReplicaState::kDamaged);
    const auto tail = w.replica->spool().tail();
    need(w.replica->receive(frame_of(file_at("late"), tail)));  // on its way already
    CHECK(w.replica->spool().tail() == tail);
    w.resync();
    CHECK(w.replica->ack().state == ReplicaState::kStreaming);
    w.receive(file_at("f"));
    w.wait_applied();
    CHECK(exists(w.root + "/f"));
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

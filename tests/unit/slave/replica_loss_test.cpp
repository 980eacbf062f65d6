// What a replica does after it has lost something: power, state, a part of its spool, a resync half way.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "tests/unit/slave/replica_world.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

// All that this process has open of it becomes good for all but syncfs().
void break_directory(const std::string& path) {
    const OwnFd broken(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(broken);
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        const int fd = std::stoi(entry.path().filename());
        if (fd != broken.get() && std::filesystem::read_symlink(entry.path(), gone) == path) {
            REQUIRE(::dup2(broken.get(), fd) == fd);
        }
    }
}

}  // namespace

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

TEST_CASE(
    "a stop with a record half applied is as good as a kill: after a reboot nobody would know the half for its own") {
    World w;
    w.resync();
    w.stop();
    std::atomic<bool> gone{false};
    w.options.apply.at_step = [&](ApplyStep step) {  // what was made cannot be given its time
        if (step == ApplyStep::kMade && !gone.exchange(true)) ::unlink((w.root + "/pipe").c_str());
    };
    w.start();
    auto pipe = file_at("pipe");
    pipe.mode = S_IFIFO | 0600;
    w.receive(pipe);
    wait_until([&] { return w.replica->status().replay.state == ReplayStatus::State::kStalled; });
    SECTION("in the same boot it goes on") {
        REQUIRE(::mkfifo((w.root + "/pipe").c_str(), 0600) == 0);
        w.stop();
        w.start();
        w.wait_applied();
        CHECK(w.welcome().state == ReplicaState::kStreaming);
    }
    SECTION("after another it is compared") {
        w.stop();
        w.change_identity([](Identity& identity) { identity.boot = "an earlier boot"; });
        w.start();
        CHECK(w.welcome().state == ReplicaState::kDamaged);
    }
}

TEST_CASE(
    "what several workers have applied beyond a record that does not apply is known until a reboot, which needs a "
    "resync") {
    World w;
    w.resync();
    w.stop();
    w.options.apply_workers = 4;
    w.start();
    constexpr int kFiles = 20;
    const auto name = [](int i) { return "f" + std::to_string(i); };
    put(w.root + "/f7", "somebody's");
    std::vector<Bytes> records;
    for (int i = 0; i < kFiles; ++i) {
        records.push_back(encoded(of(static_cast<std::uint64_t>(i) + 1, file_at(name(i)))));
        records.push_back(encoded(of(static_cast<std::uint64_t>(i) + 1, write_at(name(i), "content"))));
    }
    need(w.replica->receive(frames_of(records, w.replica->spool().tail())));
    wait_until([&] { return w.replica->status().replay.state == ReplayStatus::State::kStalled; });
    SECTION("in the same boot each is applied once") {
        SECTION("after a stop") { w.stop(); }
        SECTION("after a kill") { w.kill(); }
        put(w.root + "/f0", "changed since");
        REQUIRE(::unlink((w.root + "/f7").c_str()) == 0);
        w.start();
        w.wait_applied();
        CHECK(w.welcome().state == ReplicaState::kStreaming);
        CHECK(get(w.root + "/f0") == "changed since");
        for (int i = 1; i < kFiles; ++i) CHECK(get(w.root + "/" + name(i)) == "content");
    }
    SECTION("after another it is compared") {
        w.stop();
        w.change_identity([](Identity& identity) { identity.boot = "an earlier boot"; });
        w.start();
        CHECK(w.welcome().state == ReplicaState::kDamaged);
        w.resync();
        CHECK(tree_differences(w.want, w.root) == "");
    }
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
    CHECK(w.welcome().durable == Lsn(kStart));
    // What the first try began stays the beginning: what it has left half done is older than the second.
    w.replica->start_resync(w.hello, {"test", false, Lsn(kStart + 100)}).reset();
    CHECK(w.welcome().durable == Lsn(kStart));
    w.resync();
    CHECK(w.welcome().state == ReplicaState::kStreaming);
}

TEST_CASE("a stop is not called clean where a resync that is needed could not be put on record") {
    World w;
    w.resync();
    w.receive(file_at("a"));
    w.wait_applied();
    const auto in_the_way = w.root + "/.tdfs/identity.json.new";
    REQUIRE(::mkdir(in_the_way.c_str(), 0700) == 0);
    auto sink = w.replica->start_resync(w.hello, {"test", false, Lsn(kStart)});
    CHECK(sink->failed() != "");
    sink.reset();
    REQUIRE(::rmdir(in_the_way.c_str()) == 0);
    w.stop();
    w.change_identity([](Identity& identity) { identity.boot = "an earlier boot"; });
    w.start();
    CHECK(w.welcome().state == ReplicaState::kDamaged);
}

TEST_CASE("what a disk refused once is not called durable by a later sync that goes well") {
    World w;
    // Good for all but syncfs().
    const OwnFd broken(::open(w.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const OwnFd good(::dup(w.root_fd.get()));
    REQUIRE((broken && good));
    const auto disk = [&](const OwnFd& is) { REQUIRE(::dup2(is.get(), w.root_fd.get()) == w.root_fd.get()); };
    using Catch::Matchers::ContainsSubstring;
    const bool takes_identity = GENERATE(true, false);
    Identity before;
    SECTION("at a stop") {
        w.resync();
        w.receive(file_at("a"));
        w.wait_applied();
        before = w.state->identity();
        disk(broken);
        CHECK_THAT(w.replica->stop().error(), ContainsSubstring("cannot be made durable"));
    }
    SECTION("at the stop of a replica whose resync was cut off") {
        w.replica->start_resync(w.hello, {"test", false, Lsn(kStart)}).reset();
        REQUIRE_FALSE(w.replica->status().resync_full);
        before = w.state->identity();
        disk(broken);
        CHECK(w.replica->stop());
    }
    SECTION("within a resync that brings much") {
        put(w.want + "/large", std::string(17 << 20, 'x'));
        ResyncSource source(w.want_fd.get(), *w.journal, kEpoch, w.writers, {"test", false, {}});
        auto sink = w.replica->start_resync(w.hello, {"test", false, Lsn(kStart)});
        REQUIRE_FALSE(w.replica->status().resync_full);
        before = w.state->identity();
        break_directory(w.root + "/.tdfs/stage");
        CHECK_THAT(w.exchange(source, *sink), ContainsSubstring("write back"));
    }
    SECTION("at the end of a resync") {
        w.replica->start_resync(w.hello, {"test", false, Lsn(kStart)}).reset();
        before = w.state->identity();
        disk(broken);
        CHECK_THAT(w.replica->resume(w.hello, {{kEpoch, Lsn(kStart)}}).error(),
                   ContainsSubstring("cannot be made durable"));
        const auto welcome = w.welcome();
        CHECK(welcome.state == ReplicaState::kDamaged);
        CHECK(welcome.durable == Lsn());
    }
    w.kill();
    disk(good);
    if (!takes_identity) w.change_identity([&](Identity& identity) { identity = before; });
    w.start();
    w.stop();
    w.start();
    const auto welcome = w.welcome();
    CHECK(welcome.state == ReplicaState::kDamaged);
    CHECK(welcome.durable == Lsn());
    w.resync();
    CHECK(w.replica->status().resync_full);
    CHECK(w.welcome().state == ReplicaState::kStreaming);
    CHECK(tree_differences(w.want, w.root) == "");
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

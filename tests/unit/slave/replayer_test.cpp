#include "slave/replayer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "common/os/file.hpp"
#include "tests/unit/slave/spool_fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;
using State = ReplayStatus::State;

TEST_CASE("what comes into the spool is replayed") {
    const TempDir dir;
    const auto root = dir.dir("replica");
    ReplayBench bench(root, dir.dir("state"));
    bench.replayer().start();
    bench.receive(file_at("f"));
    bench.receive(write_at("f", std::string(50'000, 'x')));  // compressed
    bench.wait_applied();
    CHECK(get(root + "/f") == std::string(50'000, 'x'));
    CHECK(bench.state().point().count == 2);
    CHECK(bench.replayer().status().records == 2);
    const int told = bench.told();
    bench.receive(SyncRecord{});
    bench.wait_applied();
    wait_until([&] { return bench.told() > told; });
}

TEST_CASE("void frames move the position only") {
    const TempDir dir;
    ReplayBench bench(dir.dir("replica"), dir.dir("state"));
    REQUIRE(bench.spool().append(make_frame(FrameKind::kVoid, Lsn(0), 5, {})).has_value());
    bench.replayer().start();
    bench.wait_applied();
    CHECK(bench.replayer().status().skipped == 1);
    CHECK(bench.replayer().status().records == 0);
}

TEST_CASE("a foreign change stalls the replay, and its end heals it") {
    const TempDir dir;
    const auto root = dir.dir("replica");
    ReplayBench bench(root, dir.dir("state"));
    put(root + "/f", "foreign");
    bench.receive(file_at("f"));
    bench.receive(write_at("f", "ours"));
    bench.replayer().start();
    wait_until([&] { return bench.replayer().status().retries > 1; });
    const auto status = bench.replayer().status();
    CHECK(status.state == State::kStalled);
    CHECK_THAT(status.error, Catch::Matchers::ContainsSubstring("record 0 (create f"));
    CHECK_THAT(status.error, Catch::Matchers::ContainsSubstring("File exists"));
    CHECK_THAT(status.error, Catch::Matchers::ContainsSubstring("retrying"));
    CHECK(bench.state().point().lsn == Lsn(0));
    CHECK(get(root + "/f") == "foreign");

    REQUIRE(::unlink((root + "/f").c_str()) == 0);
    bench.wait_applied();
    wait_until([&] { return bench.replayer().status().state == State::kRunning; });
    CHECK(get(root + "/f") == "ours");
}

TEST_CASE("a stalled replay can be stopped, and tries again when it is started") {
    const TempDir dir;
    const auto root = dir.dir("replica");
    ReplayBench bench(root, dir.dir("state"));
    bench.receive(unlink_of("f"));
    bench.replayer().start();
    wait_until([&] { return bench.replayer().status().state == State::kStalled; });
    bench.replayer().stop();
    CHECK(bench.replayer().status().state == State::kStopped);
    put(root + "/f", "");
    bench.replayer().start();
    bench.wait_applied();
    CHECK_FALSE(exists(root + "/f"));
}

TEST_CASE("a damaged spool ends the replay and is reported") {
    const TempDir dir;
    const auto root = dir.dir("replica");
    const auto state = dir.dir("state");
    ReplayBench bench(root, state);
    bench.receive(file_at("a"));
    const auto damaged_at = bench.spool().tail();
    bench.receive(file_at("b"));
    SECTION("by a flipped bit") {
        const OwnFd segment(::open((state + "/journal/0000000000000000.seg").c_str(), O_RDWR | O_CLOEXEC));
        REQUIRE(segment);
        const auto at = static_cast<off_t>(damaged_at.bytes() + kFrameHeaderBytes + 3);
        char byte = 0;
        REQUIRE(::pread(segment.get(), &byte, 1, at) == 1);
        byte ^= 1;
        REQUIRE(::pwrite(segment.get(), &byte, 1, at) == 1);
    }
    SECTION("by a record that says nothing") {
        ReplayBench other(dir.dir("replica2"), dir.dir("state2"));
        other.receive(std::vector<Bytes>{Bytes(10, std::byte{0x7f})});
        other.replayer().start();
        wait_until([&] { return other.replayer().status().state == State::kDamaged; });
        bench.receive(std::vector<Bytes>{Bytes(10, std::byte{0x7f})});
        bench.receive(file_at("c"));
    }
    bench.replayer().start();
    wait_until([&] { return bench.replayer().status().state == State::kDamaged; });
    CHECK(exists(root + "/a"));
    CHECK_FALSE(exists(root + "/c"));
    CHECK_THAT(bench.replayer().status().error, Catch::Matchers::ContainsSubstring("a resync is needed"));
}

TEST_CASE("a replay that is behind the spool's beginning is damaged") {
    const TempDir dir;
    const auto state = dir.dir("state");
    ReplayBench bench(dir.dir("replica"), state);
    REQUIRE(bench.spool().reset(Lsn(1000)).has_value());
    bench.replayer().start();
    wait_until([&] { return bench.replayer().status().state == State::kDamaged; });
}

TEST_CASE("a file is not kept open for writing when nothing comes") {
    const TempDir dir;
    const auto root = dir.dir("replica");
    ReplayBench bench(root, dir.dir("state"));
    bench.replayer().start();
    bench.receive(file_at("f"));
    bench.receive(write_at("f", "x"));
    bench.wait_applied();
    const auto is_open = [&] {
        for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
            std::error_code gone;
            if (std::filesystem::read_symlink(entry.path(), gone) == root + "/f") return true;
        }
        return false;
    };
    wait_until([&] { return !is_open(); });
    bench.receive(write_at("f", "y", 1));
    bench.wait_applied();
    CHECK(get(root + "/f") == "xy");
}

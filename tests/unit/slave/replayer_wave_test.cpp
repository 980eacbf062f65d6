// The replay with a crew: the same tree, the same failures, exact wherever it says so.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "slave/replayer.hpp"
#include "tests/support/tree_compare.hpp"
#include "tests/unit/slave/mini_master.hpp"
#include "tests/unit/slave/spool_fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;
using State = ReplayStatus::State;

namespace {

constexpr unsigned kWorkers = 4;

std::vector<Bytes> slice(const std::vector<Bytes>& records, std::size_t from, std::size_t n) {
    const auto begin = records.begin() + static_cast<std::ptrdiff_t>(from);
    return {begin, begin + static_cast<std::ptrdiff_t>(std::min(n, records.size() - from))};
}

// What a storm leaves on a master, its records, and directories for a slave.
struct Stormed {
    Stormed(std::uint64_t seed, std::size_t operations) : master(want, seed) {
        master.storm(operations);
        master.settle();
    }
    const TempDir dir;
    const std::string want = dir.dir("want"), root = dir.dir("replica"), state = dir.dir("state");
    MiniMaster master;
    const std::vector<Bytes>& records = master.records();
};

// Files f0, f1, ... in one directory, each made and written.
std::vector<Bytes> files(std::uint64_t n) {
    std::vector<Bytes> records;
    for (std::uint64_t i = 0; i < n; ++i) {
        const auto path = "f" + std::to_string(i);
        records.push_back(encoded(of(i + 1, file_at(path))));
        records.push_back(encoded(of(i + 1, write_at(path, "content of " + path))));
    }
    return records;
}

}  // namespace

TEST_CASE("a storm applied by one thread or several, stopped and started at random, makes the tree the master has") {
    const auto most_workers = GENERATE(1u, 5u);
    const auto seed = random_seed();
    const Stormed s(seed, 2500);
    const auto& records = s.records;
    std::mt19937_64 random(seed);
    std::size_t sent = 0;
    while (sent < records.size()) {
        ReplayBench bench(s.root, s.state, {}, {}, 1 + static_cast<unsigned>(random() % most_workers));
        for (int turn = 0; turn < 5 && sent < records.size(); ++turn) {
            const auto some = slice(records, sent, 1 + random() % 200);
            if (random() % 2 == 0) bench.replayer().start();
            bench.receive(some);
            sent += some.size();
            if (random() % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
            bench.replayer().stop();
            CHECK_FALSE(bench.state().is_ahead_of(bench.state().point().lsn));
        }
    }
    ReplayBench bench(s.root, s.state, {}, {}, most_workers);
    bench.replayer().start();
    bench.wait_applied();
    bench.replayer().stop();
    CHECK(bench.state().point().count == records.size());
    CHECK(tree_differences(s.want, s.root) == "");
}

TEST_CASE("a storm applied by several workers that are killed at any step makes the tree the master has") {
    const auto seed = random_seed();
    const Stormed s(seed, 800);
    const auto& records = s.records;
    {
        ReplayBench bench(s.root, s.state);
        for (std::size_t at = 0; at < records.size(); at += 100) bench.receive(slice(records, at, 100));
    }
    std::mt19937_64 random(seed);
    for (bool killed = true; killed;) {
        const int steps_to_go = 1 + static_cast<int>(random() % 300);
        const unsigned workers = 1 + static_cast<unsigned>(random() % 5);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            std::atomic<int> left{steps_to_go};
            ApplyOptions options;
            options.at_step = [&left](ApplyStep) {
                if (--left == 0) ::kill(::getpid(), SIGKILL);
            };
            ReplayBench bench(s.root, s.state, options, {}, workers);
            bench.replayer().start();
            bench.wait_applied();
            bench.replayer().stop();
            ::_exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        REQUIRE((killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)));
    }
    ReplayBench bench(s.root, s.state);
    CHECK(bench.state().point().lsn == bench.spool().tail());
    CHECK(bench.state().point().count == records.size());
    CHECK(tree_differences(s.want, s.root) == "");
}

TEST_CASE("records of different files are under way at the same time") {
    const TempDir dir;
    const auto root = dir.dir("replica");
    std::atomic<int> inside{0};
    ApplyOptions options;
    options.at_step = [&](ApplyStep step) {
        if (step != ApplyStep::kNoted) return;
        ++inside;
        const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(1);
        while (inside < 2 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
        if (inside < 2) inside = -1000;
    };
    ReplayBench bench(root, dir.dir("state"), options, {}, 2);
    bench.receive(files(2));
    bench.replayer().start();
    bench.wait_applied();
    CHECK(inside == 2);
    CHECK(get(root + "/f1") == "content of f1");
}

TEST_CASE("a record that fails in a wave stalls the replay exactly there, and what was done ahead is done once") {
    const TempDir dir;
    const auto root = dir.dir("replica"), state = dir.dir("state");
    constexpr std::uint64_t kFiles = 40, kBad = 7;
    const auto records = files(kFiles);
    const auto bad_at = Lsn(frames_of(slice(records, 0, 2 * kBad), Lsn(0)).size());
    put(root + "/f7", "foreign");
    {
        ReplayBench bench(root, state, {}, {}, kWorkers);
        bench.receive(records);
        bench.replayer().start();
        wait_until([&] { return bench.replayer().status().state == State::kStalled; });
        CHECK(bench.state().point().lsn == bad_at);
        CHECK_THAT(bench.replayer().status().error, Catch::Matchers::ContainsSubstring("create f7"));
        CHECK(get(root + "/f7") == "foreign");
        CHECK(get(root + "/f6") == "content of f6");
        bench.replayer().stop();
        CHECK(bench.state().point().lsn == bad_at);
    }
    put(root + "/f0", "changed since");
    REQUIRE(::unlink((root + "/f7").c_str()) == 0);
    const unsigned workers = GENERATE(1u, kWorkers);
    ReplayBench bench(root, state, {}, {}, workers);
    bench.replayer().start();
    bench.wait_applied();
    CHECK(bench.state().point().count == records.size());
    CHECK(get(root + "/f0") == "changed since");
    for (std::uint64_t i = 1; i < kFiles; ++i) {
        const auto path = "f" + std::to_string(i);
        CHECK(get((root + "/").append(path)) == "content of " + path);
    }
}

TEST_CASE("a gate is met with the tree exactly there") {
    const TempDir dir;
    const auto root = dir.dir("replica");
    const auto records = files(20);
    ReplayBench bench(root, dir.dir("state"), {}, {}, kWorkers);
    const Lsn gate(frames_of(slice(records, 0, 19), Lsn(0)).size());  // f9 is made and not written
    std::atomic<int> exact{0}, missed{0};
    const auto look = [&] {
        const bool before = get(root + "/f8") == "content of f8" && get(root + "/f9").empty();
        if (before && !exists(root + "/f10")) ++exact;
        return false;
    };
    bench.replayer().meet(gate, {look, [&] { ++missed; }});
    bench.receive(records);
    bench.replayer().start();
    bench.wait_applied();
    bench.replayer().stop();
    CHECK(exact == 1);
    CHECK(missed == 0);
}

TEST_CASE("a gate where the tree is ahead is missed, since a repair there would undo what is not done again") {
    const TempDir dir;
    const auto root = dir.dir("replica");
    const auto records = files(20);
    put(root + "/f3", "foreign");
    ReplayBench bench(root, dir.dir("state"), {}, {}, kWorkers);
    bench.receive(records);
    bench.replayer().start();
    wait_until([&] { return bench.replayer().status().state == State::kStalled; });
    std::atomic<int> met{0}, missed{0};
    const auto look = [&] {
        ++met;
        return false;
    };
    bench.replayer().meet(Lsn(frames_of(slice(records, 0, 7), Lsn(0)).size()), {look, [&] { ++missed; }});
    REQUIRE(::unlink((root + "/f3").c_str()) == 0);
    bench.wait_applied();
    wait_until([&] { return met + missed == 1; });
    CHECK(missed == 1);
}

TEST_CASE("a directory that was moved is found by its new name by every worker") {
    const TempDir dir;
    const auto root = dir.dir("replica");
    // The directory is made alone; then each worker waits at its first file for the others, so that all know the directory.
    std::atomic<unsigned> noted{0};
    ApplyOptions options;
    options.at_step = [&](ApplyStep step) {
        if (step != ApplyStep::kNoted || noted++ == 0) return;
        wait_until([&] { return noted > kWorkers; });
    };
    ReplayBench bench(root, dir.dir("state"), options, {}, kWorkers);
    std::vector<Bytes> records{encoded(of(1, dir_at("d"))), encoded(SyncRecord{})};
    std::uint64_t ino = 10;
    const auto fill = [&](const char* name) {
        for (int i = 0; i < 40; ++i, ++ino) {
            records.push_back(encoded(of(ino, file_at("d/" + std::string(name) + std::to_string(i)))));
        }
    };
    fill("before");
    records.push_back(encoded(of(1, rename_of("d", "e"))));
    records.push_back(encoded(of(2, dir_at("d"))));
    records.push_back(encoded(SyncRecord{}));
    fill("after");
    bench.receive(records);
    bench.replayer().start();
    bench.wait_applied();
    for (int i = 0; i < 40; ++i) {
        CHECK(exists(root + "/e/before" + std::to_string(i)));
        CHECK(exists(root + "/d/after" + std::to_string(i)));
    }
}

TEST_CASE("workers admit no more deletions than the limit, in order") {
    const TempDir dir;
    const auto root = dir.dir("replica");
    DeleteLimit limit;
    limit.count = 5;
    limit.seconds = 1'000'000;
    ReplayBench bench(root, dir.dir("state"), {}, limit, kWorkers);
    auto records = files(20);
    for (std::uint64_t i = 0; i < 20; ++i) records.push_back(encoded(of(i + 1, unlink_of("f" + std::to_string(i)))));
    bench.receive(records);
    bench.replayer().start();
    wait_until([&] { return bench.replayer().status().state == State::kPaused; });
    CHECK_FALSE(exists(root + "/f4"));
    CHECK(exists(root + "/f5"));
    CHECK(exists(root + "/f19"));
    need(bench.brake().resume(bench.spool().tail()));
    bench.wait_applied();
    CHECK_FALSE(exists(root + "/f19"));
}

// kill -9 at any moment: whatever was executed is replicated once, by position, without a hand.

#include <iostream>
#include <thread>

#include "tests/e2e/harness/scale.hpp"
#include "tests/faults/support/faulted.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;
using namespace tdfs::faults;

namespace {

constexpr std::size_t kBetweenChecks = 20;

// Segments are as small as they may be, so that kills also meet the change from one to the next.
const Words kSmallSegments{"--segment-bytes", "8388800"};

enum class Whom { kMaster, kSlave, kBoth };

void kill(Cluster& cluster, Whom whom) {
    if (whom != Whom::kSlave) {
        cluster.kill_master();
    }
    if (whom != Whom::kMaster) {
        cluster.kill_slave();
    }
}

void launch(Cluster& cluster, Whom whom) {
    if (whom != Whom::kMaster) {
        cluster.launch_slave();
    }
    if (whom != Whom::kSlave) {
        cluster.launch_master();
    }
}

void await(Cluster& cluster, Whom whom) {
    if (whom != Whom::kMaster) {
        cluster.await_slave();
    }
    if (whom != Whom::kSlave) {
        cluster.await_master();
    }
}

void kill_again_and_again(const ClusterOptions& options, std::size_t kills) {
    Cluster cluster(options);
    Faulted faulted(cluster, seed_for("kills"));
    for (std::size_t n = 0; n < 2 * kills; n++) {
        faulted.weather();
        const Whom whom = n % 2 == 0 ? Whom::kMaster : Whom::kSlave;
        kill(cluster, whom);
        const auto restart = Clock::now();
        launch(cluster, whom);
        await(cluster, whom);
        faulted.streaming_since(restart);
        if ((n + 1) % kBetweenChecks == 0) {
            faulted.check_equal();
            std::cout << n + 1 << " kills" << std::endl;
        }
    }
    faulted.check_equal();
    std::cout << faulted.summary() << std::endl;
}

}  // namespace

TEST_CASE("master and slave killed in a storm lose nothing, double nothing and go on by position") {
    kill_again_and_again({.master_args = kSmallSegments, .slave_args = kSmallSegments}, count_of(20));
}

TEST_CASE("the same holds compressed, and with the mount over the directory itself") {
    kill_again_and_again({.compress = true, .over = true, .master_args = kSmallSegments, .slave_args = kSmallSegments},
                         count_of(6));
}

TEST_CASE("the same holds for a slave with several workers, which has applied some things ahead of others") {
    Words workers = kSmallSegments;
    workers.insert(workers.end(), {"--apply-workers", "4"});
    kill_again_and_again({.master_args = kSmallSegments, .slave_args = workers}, count_of(10));
}

TEST_CASE("with --writeback what the kernel had not written yet is lost on both sides alike, and nothing else") {
    Words writeback = kSmallSegments;
    writeback.insert(writeback.end(), {"--writeback=20"});
    kill_again_and_again({.master_args = writeback, .slave_args = kSmallSegments}, count_of(6));
}

// The second kill comes at any moment of the recovery from the first, and now and then a third and fourth.
TEST_CASE("a daemon killed again while it recovers from a kill loses nothing") {
    Cluster cluster({.master_args = kSmallSegments, .slave_args = kSmallSegments});
    Faulted faulted(cluster, seed_for("double kills"));
    const std::size_t kills = count_of(9);
    for (std::size_t n = 0; n < kills; n++) {
        faulted.weather();
        const Whom whom = static_cast<Whom>(n % 3);
        kill(cluster, whom);
        do {
            launch(cluster, whom);
            faulted.weather(std::chrono::milliseconds(60));
            kill(cluster, whom);
        } while (faulted.below(3) == 0);
        const auto restart = Clock::now();
        launch(cluster, whom);
        await(cluster, whom);
        faulted.streaming_since(restart);
        if ((n + 1) % kBetweenChecks == 0) {
            faulted.check_equal();
        }
    }
    faulted.check_equal();
    std::cout << faulted.summary() << std::endl;
}

// What a network can do to the bytes between two daemons, and what a machine can do that stands still.

#include <array>
#include <csignal>
#include <iostream>

#include "tests/e2e/harness/scale.hpp"
#include "tests/faults/support/faulted.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;
using namespace tdfs::faults;

namespace {

constexpr std::size_t kBetweenChecks = 50;

void trouble_again_and_again(const std::vector<Trouble>& kinds, std::size_t troubles, bool compress) {
    Cluster cluster({.compress = compress, .links = true});
    Faulted faulted(cluster, seed_for("link"), 2);
    const std::uint64_t connections = cluster.link().connections();
    for (std::size_t n = 0; n < troubles; n++) {
        // Between silences the slave catches up: each takes many seconds of the storm, so it would fall out of history, and a link that
        // falls silent in a resync is given up only after minutes.
        if (kinds[n % kinds.size()] == Trouble::kSilence) cluster.drain();
        cluster.link().misbehave(kinds[n % kinds.size()], faulted.random()());
        REQUIRE(eventually([&] { return !cluster.link().is_misbehaving(); }));
        // Mostly somewhere in the stream, now and then in the handshake that follows; the master waits longer before each
        // further attempt, so that nothing but handshakes in trouble would only be slow.
        if (faulted.below(10) != 0) {
            const std::uint64_t upto = cluster.link().forward_bytes() + 2000 + faulted.below(200'000);
            REQUIRE(eventually([&] { return cluster.link().forward_bytes() >= upto; }));
        }
        if ((n + 1) % kBetweenChecks == 0) {
            faulted.check_equal();
        }
    }
    faulted.check_equal();
    std::cout << troubles << " troubles, " << cluster.link().connections() - connections << " new connections; "
              << faulted.summary() << std::endl;
}

}  // namespace

TEST_CASE("a flipped bit anywhere on the wire is noticed, and its bytes are fetched again") {
    trouble_again_and_again({Trouble::kFlip}, count_of(30), false);
}

TEST_CASE("the same holds for compressed frames") { trouble_again_and_again({Trouble::kFlip}, count_of(10), true); }

TEST_CASE("pieces that come twice, in wrong order, in part or not at all do no harm") {
    trouble_again_and_again({Trouble::kDuplicate, Trouble::kSwap, Trouble::kCutInside, Trouble::kReset}, count_of(24),
                            false);
}

TEST_CASE("a connection that falls silent is given up and made anew") {
    trouble_again_and_again({Trouble::kSilence}, count_of(1), false);
}

TEST_CASE("a slave whose disk takes longer to sync than a silent link is given keeps its link") {
    if (!have_tool("strace")) {
        std::cout << "strace is not installed: no slow disk" << std::endl;
        return;
    }
    Cluster cluster({.start = false});
    // The first sync of the replica by each of its threads: at the end of the resync it is the one that holds the link.
    Words slow = tampering_with("syncfs", "delay_enter=14000000:when=1");
    const Words daemon = cluster.slave_command();
    slow.insert(slow.end(), daemon.begin(), daemon.end());
    cluster.start_slave_with(slow);
    cluster.start_master();
    cluster.drain();  // once the slave is through with its resync
    CHECK(cluster.peer().at("connects") == 1);
    CHECK(cluster.master_log().find("no sign of life") == std::string::npos);
    CHECK(cluster.slave_log().find("no sign of life") == std::string::npos);
    CHECK(cluster.differences() == "");
    REQUIRE(slave_ctl(cluster, "stop").status == 0);
    CHECK(cluster.end_of_slave() == 0);
}

TEST_CASE("daemons that stand still for a while go on where they were") {
    Cluster cluster;
    Faulted faulted(cluster, seed_for("stop"));
    const std::size_t stops = count_of(20);
    for (std::size_t n = 0; n < stops; n++) {
        faulted.weather();
        const pid_t who = n % 2 == 0 ? cluster.master_pid() : cluster.slave_pid();
        REQUIRE(kill(who, SIGSTOP) == 0);
        faulted.weather();
        REQUIRE(kill(who, SIGCONT) == 0);
        if ((n + 1) % kBetweenChecks == 0) {
            faulted.check_equal();
        }
    }
    faulted.check_equal();
    std::cout << stops << " stops; " << faulted.summary() << std::endl;
}

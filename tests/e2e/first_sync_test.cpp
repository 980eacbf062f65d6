// What was there before becomes equal, whatever the slave has already and whatever goes on meanwhile.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <random>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/e2e/storm/storm.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/tree_compare.hpp"

using namespace tdfs::e2e;

namespace {

// All kinds of things: what a storm leaves, plus a few that it does not make, plus some bulk.
void populate(const std::string& dir, std::uint64_t seed, std::size_t bulk_files) {
    REQUIRE(mkdir((dir + "/storm").c_str(), 0755) == 0);
    Storm storm(dir + "/storm", {.seed = seed, .operations = 400});
    storm.wait();
    REQUIRE(mkdir((dir + "/bulk").c_str(), 02770) == 0);
    std::mt19937_64 random(seed);
    for (std::size_t i = 0; i < bulk_files; i++) {
        std::string text(random() % 40'000, '\0');
        for (char& c : text) {
            c = static_cast<char>(random());
        }
        std::ofstream(dir + "/bulk/" + std::to_string(i), std::ios::binary) << text;
    }
    const int sparse = open((dir + "/sparse").c_str(), O_RDWR | O_CREAT, 0640);
    REQUIRE(pwrite(sparse, "far", 3, 5'000'000'000) == 3);
    REQUIRE(pwrite(sparse, "near", 4, 100'000) == 4);
    close(sparse);
    REQUIRE(std::ofstream(dir + "/" + std::string(255, '\xe9')));
    REQUIRE(link((dir + "/sparse").c_str(), (dir + "/bulk/linked").c_str()) == 0);
    REQUIRE(mkfifo((dir + "/fifo").c_str(), 0600) == 0);
    REQUIRE(lchown((dir + "/fifo").c_str(), 12345, 54321) == 0);
    REQUIRE(symlink("\xff nowhere", (dir + "/dangling").c_str()) == 0);
    REQUIRE(setxattr(dir.c_str(), "user.of the root", "x", 1, 0) == 0);
    REQUIRE(chmod(dir.c_str(), 0751) == 0);
}

std::uint64_t content_bytes(const std::string& dir) {
    return std::stoull(run({"du", "-s", "--block-size=1", dir}).out);
}

void report(const Cluster& cluster, std::size_t i = 0) {
    const nlohmann::json peer = cluster.peer(i);
    std::cout << "slave" << i << ": resyncs " << peer.at("resyncs") << ", sent " << peer.at("bytes_sent")
              << " bytes, writers held for " << peer.at("hold_ms") << " ms (budget: 100 ms)" << std::endl;
}

}  // namespace

TEST_CASE("an empty slave gets everything") {
    Cluster cluster({.slaves = 2, .start = false});
    populate(cluster.backing(), seed_for("populate"), scaled(1000, 100));
    cluster.start_all();
    cluster.drain();
    CHECK(cluster.differences() == "");
    report(cluster);
}

TEST_CASE("of a copy only the metadata is compared") {
    Cluster cluster({.slave_args = {"--adopt"}, .start = false});
    populate(cluster.backing(), seed_for("populate"), scaled(1000, 100));
    const Ran copied = run({"cp", "-a", cluster.backing() + "/.", cluster.replica()});
    REQUIRE(copied.status == 0);
    const std::uint64_t all = content_bytes(cluster.backing());
    cluster.start_all();
    cluster.drain();
    CHECK(cluster.differences(false) == "");
    report(cluster);
    const std::uint64_t sent = cluster.peer().at("bytes_sent");
    CHECK(sent < all / 10);
}

TEST_CASE("of a copy with differences only these are sent") {
    Cluster cluster({.slave_args = {"--adopt"}, .start = false});
    populate(cluster.backing(), seed_for("populate"), scaled(500, 100));
    const std::string big = cluster.backing() + "/big";
    std::ofstream(big, std::ios::binary) << std::string(64 << 20, 'b');
    REQUIRE(run({"cp", "-a", cluster.backing() + "/.", cluster.replica()}).status == 0);
    const int file = open(big.c_str(), O_RDWR);
    REQUIRE(pwrite(file, "changed", 7, 30'000'000) == 7);
    close(file);
    std::ofstream(cluster.replica() + "/not on the master") << "junk";
    REQUIRE(unlink((cluster.replica() + "/bulk/1").c_str()) == 0);
    REQUIRE(chmod((cluster.replica() + "/bulk/2").c_str(), 0777) == 0);
    cluster.start_all();
    cluster.drain();
    CHECK(cluster.differences(false) == "");
    report(cluster);
    const std::uint64_t sent = cluster.peer().at("bytes_sent");
    CHECK(sent < (8U << 20));  // of the big file a few blocks
}

TEST_CASE("a directory with other things in it is refused, and made equal with --adopt") {
    Cluster cluster({.start = false});
    populate(cluster.backing(), seed_for("populate"), 50);
    std::ofstream(cluster.replica() + "/precious") << "somebody's only copy";
    REQUIRE(mkdir((cluster.replica() + "/bulk").c_str(), 0700) == 0);
    REQUIRE(symlink("/etc", (cluster.replica() + "/storm").c_str()) == 0);

    const Ran refused = run(cluster.slave_command(), "", std::chrono::seconds(60));
    INFO(refused.err);
    CHECK(refused.status == 3);
    CHECK(refused.err.find("--adopt") != std::string::npos);
    CHECK(read_file(cluster.replica() + "/precious") == "somebody's only copy");
    CHECK(run({"ls", "-A", cluster.replica()}).out == "bulk\nprecious\nstorm\n");

    Words words = cluster.slave_command();
    words.push_back("--adopt");
    cluster.start_slave_with(words);
    cluster.start_master();
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("a first sync under a storm ends equal") {
    Cluster cluster({.slaves = 2, .start = false});
    const std::uint64_t seed = seed_for("populate and storm");
    populate(cluster.backing(), seed, scaled(1500, 150));
    cluster.start_master();
    Storm storm(cluster.mount() + "/storm", {.seed = seed + 1, .threads = 3, .pause_us = 2000});
    Storm bulk(cluster.mount() + "/bulk", {.seed = seed + 2, .threads = 1, .pause_us = 2000});
    cluster.start_slave(0);
    REQUIRE(eventually([&] { return storm.done() > 300; }));
    cluster.start_slave(1);
    cluster.wait_streaming();
    for (std::size_t i = 0; i < 2; i++) {
        CHECK(cluster.peer(i).at("resyncs") >= 1);
        report(cluster, i);
    }
    storm.stop();
    bulk.stop();
    CHECK(storm.surprises() == "");
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("a first sync that is cut off goes on where it was") {
    Cluster cluster({.links = true, .start = false});
    populate(cluster.backing(), seed_for("populate"), scaled(2000, 300));
    const std::uint64_t all = content_bytes(cluster.backing());
    cluster.start_slave();
    cluster.start_master();
    for (std::uint64_t part = 1; part < 6; part++) {
        // Cut when so much has gone over; the last ones may come when it is through already.
        REQUIRE(eventually([&] {
            return cluster.link().forward_bytes() > all * part / 6 || cluster.peer().at("state") == "streaming";
        }));
        cluster.link().cut();
        if (part % 2 == 0) {
            cluster.kill_slave();
            cluster.start_slave();
        }
        cluster.link().restore();
    }
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.differences() == "");
    std::cout << "content " << all << ", carried " << cluster.link().forward_bytes() << std::endl;
    CHECK(cluster.link().forward_bytes() < 2 * all + (32U << 20));
}

// The programs' faces: tdfsctl, going to the background, help, exit codes.

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;
using Catch::Matchers::ContainsSubstring;

namespace {

Ran ctl(const std::string& dir, const Words& words) {
    Words command{program("tdfsctl"), "-m", dir};
    command.insert(command.end(), words.begin(), words.end());
    return run(command);
}

}  // namespace

TEST_CASE("status tells people and programs") {
    Cluster cluster({.slaves = 2});
    write_to(cluster.mount() + "/file", "content");
    cluster.drain();
    const Ran table = cluster.ctl({"status"});
    CHECK(table.status == 0);
    CHECK_THAT(table.out, ContainsSubstring("streaming"));
    CHECK_THAT(table.out, ContainsSubstring(std::to_string(cluster.slave_port(0))));
    CHECK_THAT(table.out, ContainsSubstring(std::to_string(cluster.slave_port(1))));
    const nlohmann::json master = cluster.master_status();
    CHECK(master.at("role") == "master");
    CHECK(master.at("slaves").size() == 2);
    for (std::size_t i = 0; i < 2; i++) {
        const nlohmann::json slave = cluster.slave_status(i);
        CHECK(slave.at("role") == "slave");
        CHECK(slave.at("volume") == master.at("volume"));
        CHECK(slave.at("epoch") == master.at("epoch"));
        CHECK(slave.at("connected") == true);
        CHECK(cluster.peer(i).at("lag_bytes") == 0);
        CHECK(ctl(cluster.replica(i), {"status"}).status == 0);
    }
}

TEST_CASE("drain waits for all slaves or for those that are named") {
    Cluster cluster({.slaves = 2});
    cluster.freeze_slave(1);
    write_to(cluster.mount() + "/file", "content");
    const std::string first = "127.0.0.1:" + std::to_string(cluster.slave_port(0));
    CHECK(cluster.ctl({"drain", first, "--timeout", "60"}).status == 0);
    CHECK(read_file(cluster.replica(0) + "/file") == "content");
    CHECK(cluster.ctl({"drain", "--timeout", "1"}).status == 4);
    CHECK(cluster.ctl({"drain", "127.0.0.1:1", "--timeout", "1"}).status != 0);
    cluster.thaw_slave(1);
    CHECK(cluster.ctl({"drain"}).status == 0);
    CHECK(read_file(cluster.replica(1) + "/file") == "content");
}

TEST_CASE("wait returns when a slave has applied a position") {
    Cluster cluster;
    write_to(cluster.mount() + "/file", "content");
    const std::string position = cluster.master_status().at("position");
    CHECK(ctl(cluster.replica(), {"wait", "--position", position, "--timeout", "60"}).status == 0);
    CHECK(read_file(cluster.replica() + "/file") == "content");
    const std::string far = position.substr(0, position.find(':') + 1) + "999999999999";
    CHECK(ctl(cluster.replica(), {"wait", "--position", far, "--timeout", "1"}).status == 4);
    CHECK(ctl(cluster.replica(), {"wait", "--position", "nonsense"}).status != 0);
}

TEST_CASE("log shows the journal in readable lines") {
    Cluster cluster;
    write_to(cluster.mount() + "/a name to be found", "content");
    REQUIRE(rename((cluster.mount() + "/a name to be found").c_str(), (cluster.mount() + "/another name").c_str()) ==
            0);
    cluster.drain();
    const Ran log = cluster.ctl({"log"});
    CHECK(log.status == 0);
    CHECK_THAT(log.out, ContainsSubstring("a name to be found") && ContainsSubstring("another name"));
    const Ran rest =
        cluster.ctl({"log", "--from", std::to_string(cluster.master_status().at("tail").get<std::uint64_t>())});
    CHECK(rest.status == 0);
    CHECK(rest.out.find("a name to be found") == std::string::npos);
    CHECK_THAT(ctl(cluster.replica(), {"log"}).out, ContainsSubstring("another name"));
}

TEST_CASE("stop ends a daemon in order") {
    Cluster cluster;
    write_to(cluster.mount() + "/file", "content");
    cluster.drain();
    CHECK(cluster.ctl({"stop"}).status == 0);
    cluster.forget_master();
    CHECK(!std::ifstream(cluster.mount() + "/file"));
    CHECK(cluster.ctl({"status"}).status == 3);
    CHECK(ctl(cluster.replica(), {"stop"}).status == 0);
    cluster.forget_slave();
    CHECK(ctl(cluster.replica(), {"status"}).status == 3);
    CHECK(read_file(cluster.replica() + "/file") == "content");
    cluster.start_all();
    CHECK(cluster.peer().at("resyncs") == 0);
}

TEST_CASE("wrong words are answered with one line and their exit code") {
    Cluster cluster;
    for (const Words& words :
         {Words{"nonsense"}, Words{"status", "--nonsense"}, Words{"drain", "--timeout", "soon"}, Words{}}) {
        const Ran ran = cluster.ctl(words);
        INFO(ran.err);
        CHECK(ran.status == 2);
        CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
    }
    CHECK(run({program("tdfsctl"), "status"}).status == 2);
    CHECK(ctl("/nowhere", {"status"}).status == 3);
    CHECK(ctl(cluster.plain(), {"status"}).status == 3);
}

TEST_CASE("help and version are there") {
    for (const std::string name : {"tdfs", "tdfs_slave", "tdfsctl"}) {
        const Ran help = run({program(name), "-h"});
        CHECK(help.status == 0);
        CHECK_THAT(help.out, ContainsSubstring("-m"));
    }
    const Ran version = run({program("tdfs"), "--version"});
    CHECK(version.status == 0);
    CHECK_THAT(version.out, ContainsSubstring("fuse"));
}

TEST_CASE("the daemons go to the background when they are ready, and umount ends the master") {
    Cluster cluster({.start = false});
    Words slave = cluster.slave_command(), master = cluster.master_command();
    for (Words* words : {&slave, &master}) {
        words->erase(std::remove(words->begin(), words->end(), "-f"), words->end());
    }
    master.insert(master.begin() + 1, "-n");
    const Ran slave_ran = run(slave), master_ran = run(master);
    INFO(slave_ran.err << master_ran.err);
    REQUIRE(slave_ran.status == 0);
    REQUIRE(master_ran.status == 0);
    write_to(cluster.mount() + "/file", "content");
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(umount2(cluster.mount().c_str(), 0) == 0);
    CHECK(eventually([&] { return cluster.ctl({"status"}).status == 3; }));
    CHECK(ctl(cluster.replica(), {"stop"}).status == 0);
}

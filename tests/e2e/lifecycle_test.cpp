// Daemons come and go in order; what must hold around that.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "common/daemon/state_dir.hpp"
#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/tree_compare.hpp"

using namespace tdfs::e2e;

namespace {

void append_to(const std::string& path, const std::string& text) {
    std::ofstream file(path, std::ios::binary | std::ios::app);
    file << text;
    file.close();
    REQUIRE(file);
}

// The next master takes the machine for one that was booted since the last one ended.
void pretend_reboot(const std::string& directory) {
    const tdfs::OwnFd root(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(root);
    const auto state = tdfs::StateDir::open(root.get(), directory, "", tdfs::Role::kMaster);
    REQUIRE(state.has_value());
    auto identity = (*state)->identity();
    identity.boot = "an earlier boot";
    REQUIRE((*state)->save(identity).has_value());
}

std::size_t sync_points(const Cluster& cluster) {
    const std::string log = cluster.ctl({"log"}).out;
    std::size_t count = 0;
    for (auto at = log.find(" sync\n"); at != std::string::npos; at = log.find(" sync\n", at + 1)) ++count;
    return count;
}

}  // namespace

TEST_CASE("both daemons stop in order and go on by position") {
    Cluster cluster;
    append_to(cluster.mount() + "/first", "1");
    cluster.drain();
    for (int round = 0; round < 2; round++) {
        cluster.stop_slave();
        append_to(cluster.mount() + "/while the slave is away", "x");
        cluster.stop_master();
        cluster.start_slave();
        cluster.start_master();
        cluster.wait_streaming();
        append_to(cluster.mount() + "/after", "y");
        cluster.drain();
        CHECK(cluster.differences() == "");
        CHECK(cluster.peer().at("resyncs") == 0);
    }
}

TEST_CASE("a master that starts after a reboot says so in its history, once") {
    Cluster cluster;
    append_to(cluster.mount() + "/file", "content");
    cluster.drain();
    cluster.stop_master();
    cluster.start_master();
    CHECK(sync_points(cluster) == 0);
    cluster.stop_master();
    pretend_reboot(cluster.backing());
    for (int start = 0; start < 2; start++) {
        cluster.start_master();
        CHECK(sync_points(cluster) == 1);
        cluster.stop_master();
    }
    cluster.start_master();
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("resyncs") == 0);
}

TEST_CASE("SIGTERM ends the master in order and unmounts") {
    Cluster cluster;
    append_to(cluster.mount() + "/file", "content");
    kill(cluster.master_pid(), SIGTERM);
    REQUIRE(eventually([&] { return !std::ifstream(cluster.mount() + "/file"); }));
    REQUIRE(eventually([&] { return cluster.ctl({"status"}).status == 3; }));
    cluster.forget_master();
    cluster.start_master();
    CHECK(read_file(cluster.mount() + "/file") == "content");
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("resyncs") == 0);
}

TEST_CASE("nothing gets past a mount that covers its directory while its killed master is away") {
    Cluster cluster({.over = true});
    const std::string dir = cluster.mount();
    append_to(dir + "/file", "content");
    cluster.drain();
    cluster.kill_master();
    CHECK(open((dir + "/past").c_str(), O_WRONLY | O_CREAT, 0644) < 0);
    REQUIRE(umount2(dir.c_str(), MNT_DETACH) == 0);  // as the next master does
    CHECK(open((dir + "/past").c_str(), O_WRONLY | O_CREAT, 0644) < 0);
    CHECK(errno == EROFS);
    cluster.start_master();
    CHECK(read_file(dir + "/file") == "content");
    append_to(dir + "/more", "x");
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("resyncs") == 0);
    cluster.stop_master();
    CHECK(read_file(dir + "/more") == "x");  // nothing is left in the way
    cluster.start_master();
    CHECK(read_file(dir + "/more") == "x");
}

TEST_CASE("a master that is killed when its tree has just been emptied starts again by itself") {
    Cluster cluster;
    for (int round = 0; round < 5; round++) {
        append_to(cluster.mount() + "/last", "x");
        REQUIRE(eventually([&] { return cluster.ctl({"drain"}).status == 0; }));
        std::this_thread::sleep_for(std::chrono::milliseconds(1200));  // the content is noted
        REQUIRE(unlink((cluster.mount() + "/last").c_str()) == 0);
        cluster.kill_master();
        cluster.start_master();
        cluster.wait_streaming();
        cluster.drain();
        CHECK(cluster.differences() == "");
    }
}

TEST_CASE("slaves need not run before the master and get everything when they come") {
    Cluster cluster({.slaves = 2, .start = false});
    cluster.start_master();
    append_to(cluster.mount() + "/before", "written before any slave was there");
    cluster.start_slave(0);
    append_to(cluster.mount() + "/between", "written between");
    cluster.start_slave(1);
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("a slave that is away does not hold up the others") {
    Cluster cluster({.slaves = 2});
    cluster.kill_slave(1);
    for (int i = 0; i < 100; i++) {
        append_to(cluster.mount() + "/file" + std::to_string(i), std::string(10000, 'x'));
    }
    cluster.drain({0});
    CHECK(tdfs::test::tree_differences(cluster.backing(), cluster.replica(0)) == "");
    cluster.start_slave(1);
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("modification times arrive by themselves once things are quiet") {
    Cluster cluster;
    REQUIRE(mkdir((cluster.mount() + "/dir").c_str(), 0755) == 0);
    const int open_file = open((cluster.mount() + "/dir/open").c_str(), O_WRONLY | O_CREAT, 0644);
    for (int i = 0; i < 20; i++) {
        append_to(cluster.mount() + "/dir/file" + std::to_string(i), "text");
        CHECK(write(open_file, "more", 4) == 4);
    }
    CHECK(eventually([&] { return cluster.differences().empty(); }));
    CHECK(cluster.differences() == "");
    close(open_file);
}

TEST_CASE("the kernel reads ahead of a mount's readers as much as one request takes") {
    Cluster cluster;
    struct stat mount {};
    REQUIRE(::stat(cluster.mount().c_str(), &mount) == 0);
    const std::string file = "/sys/class/bdi/" + std::to_string(major(mount.st_dev)) + ":" +
                             std::to_string(minor(mount.st_dev)) + "/read_ahead_kb";
    // Set right after the mount is there, by a request that the session's begin answers.
    CHECK(eventually([&] { return read_file(file) == "1024\n"; }));
}

TEST_CASE("the state directory is not to be seen in the mount and not replicated") {
    const bool over = GENERATE(false, true);
    Cluster cluster({.over = over});
    CHECK(run({"ls", "-A", cluster.mount()}).out == "");
    struct stat s {};
    CHECK(stat((cluster.mount() + "/.tdfs").c_str(), &s) != 0);
    CHECK(errno == ENOENT);
    CHECK(stat((cluster.mount() + "/.tdfs/journal").c_str(), &s) != 0);
    CHECK(mkdir((cluster.mount() + "/.tdfs").c_str(), 0755) != 0);
    CHECK(open((cluster.mount() + "/.tdfs").c_str(), O_WRONLY | O_CREAT, 0644) < 0);
    CHECK(symlink("x", (cluster.mount() + "/.tdfs").c_str()) != 0);
    append_to(cluster.mount() + "/file", "x");
    CHECK(rename((cluster.mount() + "/file").c_str(), (cluster.mount() + "/.tdfs").c_str()) != 0);
    CHECK(rename((cluster.mount() + "/.tdfs").c_str(), (cluster.mount() + "/mine").c_str()) != 0);
    CHECK(link((cluster.mount() + "/file").c_str(), (cluster.mount() + "/.tdfs").c_str()) != 0);
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.master_status().at("state") == "running");
}

// Names that the daemon has never looked up are names all the same.
TEST_CASE("a file goes on under a hard link from before the mount") {
    Cluster cluster({.start = false});
    append_to(cluster.backing() + "/seen", "from before");
    REQUIRE(mkdir((cluster.backing() + "/dir").c_str(), 0755) == 0);
    REQUIRE(link((cluster.backing() + "/seen").c_str(), (cluster.backing() + "/dir/unseen").c_str()) == 0);
    cluster.start_all();
    const int file = open((cluster.mount() + "/seen").c_str(), O_RDWR);
    REQUIRE(file >= 0);
    CHECK(unlink((cluster.mount() + "/seen").c_str()) == 0);
    CHECK(pwrite(file, "FROM", 4, 0) == 4);
    CHECK(fchmod(file, 0600) == 0);
    CHECK(ftruncate(file, 7) == 0);
    close(file);
    cluster.drain();
    CHECK(read_file(cluster.replica() + "/dir/unseen") == "FROM be");
    CHECK(cluster.differences() == "");
}

TEST_CASE("a temporary file that was written long before it gets its name arrives complete") {
    Cluster cluster;
    const int file = open(cluster.mount().c_str(), O_TMPFILE | O_RDWR, 0640);
    REQUIRE(file >= 0);
    const std::string chunk(1 << 20, 'c');
    for (std::size_t i = 0; i < scaled(20, 3); i++) {
        REQUIRE(pwrite(file, chunk.data(), chunk.size(), static_cast<off_t>(i * 3 * chunk.size())) ==
                static_cast<ssize_t>(chunk.size()));
    }
    cluster.drain();
    CHECK(run({"ls", "-A", cluster.replica()}).out.find("named") == std::string::npos);
    const std::string self = "/proc/self/fd/" + std::to_string(file);
    REQUIRE(linkat(AT_FDCWD, self.c_str(), AT_FDCWD, (cluster.mount() + "/named").c_str(), AT_SYMLINK_FOLLOW) == 0);
    close(file);
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("writes go on while a slave is frozen, and it catches up") {
    Cluster cluster({.slaves = 2});
    cluster.freeze_slave(1);
    const std::string chunk(1 << 20, 'w');
    for (std::size_t i = 0; i < scaled(100, 20); i++) {
        append_to(cluster.mount() + "/big", chunk);
    }
    cluster.drain({0});
    cluster.thaw_slave(1);
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer(1).at("resyncs") <= 1);
}

TEST_CASE("a slave whose position has left the journal is made equal again") {
    Cluster cluster({.master_args = {"--segment-bytes", "8388800", "--retain-bytes", "16777600"}});
    const std::string chunk(1 << 20, 'r');
    for (int i = 0; i < 3; i++) {
        append_to(cluster.mount() + "/old" + std::to_string(i), chunk);
    }
    cluster.drain();
    const auto before = cluster.peer().at("resyncs").get<std::uint64_t>();
    cluster.stop_slave();
    for (std::size_t i = 0; i < 30; i++) {
        append_to(cluster.mount() + "/new" + std::to_string(i), chunk);
    }
    REQUIRE(unlink((cluster.mount() + "/old0").c_str()) == 0);
    REQUIRE(eventually([&] {
        return cluster.master_status().at("oldest").get<std::uint64_t>() >
               cluster.peer().at("applied").get<std::uint64_t>();
    }));
    cluster.start_slave();
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("resyncs") == before + 1);
    CHECK(cluster.master_status().at("journal_bytes") < (56U << 20));
}

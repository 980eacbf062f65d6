// What holds a replica back: a word, too many deletions, a full disk. Nothing is lost, nobody else is held back.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/tree_compare.hpp"

using namespace tdfs::e2e;
using Catch::Matchers::ContainsSubstring;

namespace {

bool has(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

void make_files(const Cluster& cluster, const std::string& dir, int count) {
    REQUIRE(mkdir((cluster.mount() + "/" + dir).c_str(), 0755) == 0);
    for (int i = 0; i < count; i++) {
        write_to(cluster.mount() + "/" + dir + "/" + std::to_string(i), "text");
    }
}

void remove_files(const Cluster& cluster, const std::string& dir, int from, int to) {
    for (int i = from; i < to; i++) {
        REQUIRE(unlink((cluster.mount() + "/" + dir + "/" + std::to_string(i)).c_str()) == 0);
    }
}

// Nobody changes an immutable file: a record about it fails with EPERM.
class Immutable {
  public:
    explicit Immutable(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        REQUIRE(fd_ >= 0);
        set(FS_IMMUTABLE_FL);
    }
    Immutable(const Immutable&) = delete;
    Immutable& operator=(const Immutable&) = delete;
    ~Immutable() {
        lift();
        close(fd_);
    }
    void lift() { set(0); }

  private:
    void set(int flag) {
        int flags = 0;
        CHECK(ioctl(fd_, FS_IOC_GETFLAGS, &flags) == 0);
        flags = (flags & ~FS_IMMUTABLE_FL) | flag;
        CHECK(ioctl(fd_, FS_IOC_SETFLAGS, &flags) == 0);
    }
    const int fd_;
};

int count_files(const std::string& dir) { return std::stoi(run({"sh", "-c", "ls -A \"$1\" | wc -l", "sh", dir}).out); }

}  // namespace

TEST_CASE("a paused slave receives and applies nothing, over restarts too, and goes on when it is told") {
    Cluster cluster({.slaves = 2});
    CHECK(cluster.ctl({"pause"}).status == 1);
    REQUIRE(slave_ctl(cluster, "pause").status == 0);
    write_to(cluster.mount() + "/file", "content");
    cluster.drain({1});
    const auto tail = cluster.master_status().at("tail").get<std::uint64_t>();
    REQUIRE(eventually([&] { return cluster.slave_status().at("received").get<std::uint64_t>() >= tail; }));
    CHECK_FALSE(has(cluster.replica() + "/file"));
    CHECK(cluster.slave_status().at("state") == "paused");
    REQUIRE(eventually([&] { return cluster.peer().at("state") == "paused"; }));
    CHECK_THAT(cluster.peer().at("detail").get<std::string>(), ContainsSubstring("tdfsctl resume"));
    const bool killed = GENERATE(false, true);
    killed ? cluster.kill_slave() : cluster.stop_slave();
    cluster.start_slave();
    write_to(cluster.mount() + "/more", "content");
    REQUIRE(eventually([&] { return cluster.peer().at("state") == "paused"; }));
    CHECK_FALSE(has(cluster.replica() + "/file"));
    REQUIRE(slave_ctl(cluster, "resume").status == 0);
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("resyncs") == 1);  // the first
}

TEST_CASE("applying pauses before the first deletion that is too many") {
    Cluster cluster({.slave_args = {"--delete-limit", "10/3600"}});
    make_files(cluster, "dir", 40);
    cluster.drain();
    remove_files(cluster, "dir", 0, 10);
    cluster.drain();
    CHECK(count_files(cluster.replica() + "/dir") == 30);
    write_to(cluster.mount() + "/dir/new", "x");
    // A rename onto something takes a name away, too.
    REQUIRE(rename((cluster.mount() + "/dir/new").c_str(), (cluster.mount() + "/dir/39").c_str()) == 0);
    remove_files(cluster, "dir", 10, 39);
    REQUIRE(eventually([&] { return cluster.peer().at("state") == "paused"; }));
    const auto detail = cluster.peer().at("detail").get<std::string>();
    CHECK_THAT(detail, ContainsSubstring("--delete-limit 10/3600") && ContainsSubstring("rename") &&
                           ContainsSubstring("10 deletions") && ContainsSubstring("since 2"));
    CHECK(cluster.slave_status().at("state") == "paused");
    CHECK_THAT(cluster.slave_log(), ContainsSubstring("replay paused"));
    CHECK(count_files(cluster.replica() + "/dir") == 31);
    cluster.kill_slave();
    cluster.start_slave();
    REQUIRE(eventually([&] { return cluster.peer().at("state") == "paused"; }));
    CHECK(count_files(cluster.replica() + "/dir") == 31);
    const auto tail = cluster.master_status().at("tail").get<std::uint64_t>();
    REQUIRE(eventually([&] { return cluster.slave_status().at("received").get<std::uint64_t>() >= tail; }));
    REQUIRE(slave_ctl(cluster, "resume").status == 0);
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("a share of the replica may be the limit") {
    Cluster cluster({.slave_args = {"--delete-limit", "10%"}});
    make_files(cluster, "dir", 99);  // with the directory 100
    cluster.drain();
    remove_files(cluster, "dir", 0, 10);
    cluster.drain();
    remove_files(cluster, "dir", 10, 12);
    REQUIRE(eventually([&] { return cluster.peer().at("state") == "paused"; }));
    CHECK(count_files(cluster.replica() + "/dir") == 89);
    REQUIRE(slave_ctl(cluster, "resume").status == 0);
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("a resync that would remove too much waits, too") {
    Cluster cluster({.slave_args = {"--delete-limit", "10/3600"}});
    make_files(cluster, "dir", 40);
    cluster.drain();
    cluster.stop_slave();
    for (int i = 0; i < 40; i++) {
        REQUIRE(unlink((cluster.mount() + "/dir/" + std::to_string(i)).c_str()) == 0);
    }
    std::filesystem::remove(cluster.replica() + "/.tdfs/applied");  // so that a resync is needed
    cluster.start_slave();
    REQUIRE(eventually(
        [&] { return cluster.peer().at("detail").get<std::string>().find("--delete-limit") != std::string::npos; }));
    CHECK(count_files(cluster.replica() + "/dir") == 30);
    cluster.stop_slave();
    cluster.start_slave();
    REQUIRE(eventually(
        [&] { return cluster.peer().at("detail").get<std::string>().find("--delete-limit") != std::string::npos; }));
    CHECK(count_files(cluster.replica() + "/dir") == 30);
    REQUIRE(slave_ctl(cluster, "resume").status == 0);
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.differences() == "");
}

namespace {

// The replicas' file system for one test: small, and gone with it.
class SmallDisk {
  public:
    SmallDisk(std::string at, const std::string& size) : at_(std::move(at)) {
        REQUIRE(mount("tmpfs", at_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0);
    }
    ~SmallDisk() { umount2(at_.c_str(), MNT_DETACH); }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;

  private:
    const std::string at_;
};

}  // namespace

TEST_CASE("a replica on a full disk waits and says so, receives on, and goes on by itself when there is room") {
    const Scratch spool;
    Cluster cluster(
        {.slaves = 2, .slave_args = {"--spool-limit", "16M", "--segment-bytes", "8388800"}, .start = false});
    const SmallDisk disk(cluster.replica(), "64M");
    const bool spool_elsewhere = GENERATE(true, false);
    if (spool_elsewhere) {
        const std::string journal = cluster.replica() + "/.tdfs/journal";
        std::filesystem::create_directories(journal);
        REQUIRE(mount(spool.path().c_str(), journal.c_str(), nullptr, MS_BIND, nullptr) == 0);
    }
    cluster.start_slave(0);
    cluster.start_slave(1);
    cluster.start_master();
    cluster.wait_streaming();
    const std::string filler = cluster.replica() + "/.tdfs/filler";
    const auto room = std::filesystem::space(cluster.replica()).available;
    write_to(filler, std::string(room - (5U << 20), 'f'));
    const std::string chunk(1 << 20, 'c');
    // A spool on the same disk gives up its two segments first, of 8 MiB each: more than that does not fit either.
    const int chunks = spool_elsewhere ? 8 : 24;
    for (int i = 0; i < chunks; i++) {
        write_to(cluster.mount() + "/file" + std::to_string(i), chunk);
    }
    cluster.drain({1});  // nobody else is held back
    REQUIRE(eventually([&] { return cluster.peer(0).at("state") != "streaming"; }));
    INFO(cluster.peer(0).dump());
    CHECK_THAT(cluster.peer(0).at("detail").get<std::string>(), ContainsSubstring("No space left"));
    CHECK_THAT(cluster.slave_log(0), ContainsSubstring("No space left"));
    if (spool_elsewhere) {
        CHECK(cluster.peer(0).at("state") == "stalled");
        const auto tail = cluster.master_status().at("tail").get<std::uint64_t>();
        CHECK(eventually([&] { return cluster.peer(0).at("received").get<std::uint64_t>() >= tail; }));
    }
    REQUIRE(unlink(filler.c_str()) == 0);
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer(0).at("resyncs") == 1);  // the first
    cluster.stop_slave(0);
}

TEST_CASE("a paused slave's spool stays within its limit, and neither the master nor others notice") {
    Cluster cluster({.slaves = 2, .slave_args = {"--spool-limit", "4M", "--segment-bytes", "8388800"}});
    REQUIRE(slave_ctl(cluster, "pause").status == 0);
    const std::string chunk(1 << 20, 'c');
    for (int i = 0; i < 40; i++) {
        write_to(cluster.mount() + "/file" + std::to_string(i), chunk);
    }
    cluster.drain({1});
    const auto status = cluster.slave_status();
    CHECK(status.at("received").get<std::uint64_t>() - status.at("applied").get<std::uint64_t>() < (8U << 20));
    CHECK(status.at("spool_bytes").get<std::uint64_t>() < (32U << 20));
    REQUIRE(slave_ctl(cluster, "resume").status == 0);
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("connects") == 1);
    CHECK(cluster.peer().at("resyncs") == 1);  // the first
}

TEST_CASE("a change that cannot be applied holds up all others, until it can") {
    Cluster cluster;
    write_to(cluster.mount() + "/bad", "old");
    cluster.drain();
    Immutable bad(cluster.replica() + "/bad");
    write_to(cluster.mount() + "/bad", "new");
    write_to(cluster.mount() + "/good", "text");
    REQUIRE(eventually([&] { return cluster.peer().at("state") == "stalled"; }));
    CHECK_THAT(cluster.peer().at("detail").get<std::string>(),
               ContainsSubstring("bad") && ContainsSubstring("retrying"));
    CHECK_FALSE(has(cluster.replica() + "/good"));
    bad.lift();
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("resyncs") == 1);  // the first
}

TEST_CASE("up to as many names as are tolerated are parked, named, and repaired once it works") {
    Cluster cluster({.slave_args = {"--tolerate", "2"}});
    for (const char* name : {"one", "two", "three"}) write_to(cluster.mount() + "/" + name, "old");
    cluster.drain();
    const auto before = cluster.slave_status().at("applied").get<std::uint64_t>();
    Immutable one(cluster.replica() + "/one");
    Immutable two(cluster.replica() + "/two");
    Immutable three(cluster.replica() + "/three");
    write_to(cluster.mount() + "/one", "new");
    REQUIRE(unlink((cluster.mount() + "/two").c_str()) == 0);
    write_to(cluster.mount() + "/good", "text");
    REQUIRE(eventually([&] { return has(cluster.replica() + "/good"); }));
    REQUIRE(eventually([&] { return cluster.peer().at("detail") != ""; }));
    CHECK_THAT(cluster.peer().at("detail").get<std::string>(), ContainsSubstring("one, two"));
    CHECK(cluster.slave_status().at("repairs") == nlohmann::json{"one", "two"});
    CHECK(cluster.slave_status().at("applied").get<std::uint64_t>() < cluster.master_status().at("tail"));
    CHECK(cluster.slave_status().at("applied").get<std::uint64_t>() >= before);
    cluster.kill_slave();  // what is parked is known afterwards
    cluster.start_slave();
    REQUIRE(eventually([&] { return cluster.slave_status().at("repairs") == nlohmann::json{"one", "two"}; }));
    write_to(cluster.mount() + "/three", "new");
    write_to(cluster.mount() + "/later", "text");
    REQUIRE(eventually([&] {
        return cluster.slave_status().at("last_error").get<std::string>().find("retrying") != std::string::npos;
    }));
    CHECK_FALSE(has(cluster.replica() + "/later"));
    for (Immutable* file : {&one, &two, &three}) file->lift();
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.slave_status().at("repairs").empty());
    CHECK(cluster.peer().at("resyncs") == 1);  // the first
}

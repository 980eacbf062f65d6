// What people and strangers do wrong: one line that says what and what to do, an exit status, and nothing changed.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <random>
#include <utility>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/e2e/storm/storm.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/tree_compare.hpp"

using namespace tdfs::e2e;
using Catch::Matchers::ContainsSubstring;

namespace {

// Names, kinds, modes, sizes and times of everything below, the directory itself included.
std::string fingerprint(const std::string& dir) { return run({"find", dir, "-printf", "%p %y %m %U:%G %s %T@\n"}).out; }

// Runs a daemon that must refuse to start: a status from 1 to 3, one line, with `words` in it.
void refuses(const Words& command, const Words& words) {
    const Ran ran = run(command, "", std::chrono::seconds(60));
    std::string line;
    for (const std::string& word : command) {
        line += word + " ";
    }
    INFO(line << "\nstatus " << ran.status << "\n" << ran.err << ran.out);
    CHECK(ran.status >= 1);
    CHECK(ran.status <= 3);
    CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
    for (const std::string& word : words) {
        CHECK_THAT(ran.err, ContainsSubstring(word));
    }
}

// The same with a look at everything in the scratch directory but the logs.
void refuses_unchanged(const Cluster& cluster, const Words& command, const Words& words) {
    const std::string before = fingerprint(cluster.scratch());
    refuses(command, words);
    CHECK(fingerprint(cluster.scratch()) == before);
}

Words master(const std::string& dir, const std::string& mount) {
    return {program("tdfs"), "-f", "-m", dir, "-c", "127.0.0.1:1", mount};
}

Words slave(const std::string& dir) {
    return {program("tdfs_slave"), "-f", "-m", dir, "-l", "127.0.0.1:" + std::to_string(free_port())};
}

}  // namespace

TEST_CASE("wrong command lines are refused") {
    const Cluster cluster({.start = false});
    const std::string d = cluster.backing(), m = cluster.mount(), s = cluster.replica();
    const std::string tdfs = program("tdfs"), tdfs_slave = program("tdfs_slave");
    refuses_unchanged(cluster, {tdfs}, {});
    refuses_unchanged(cluster, {tdfs, "-m", d}, {});
    refuses_unchanged(cluster, {tdfs, m}, {"-m"});
    refuses_unchanged(cluster, {tdfs, "-f", "-m", d, "--nonsense", m}, {"nonsense"});
    refuses_unchanged(cluster, {tdfs, "-f", "-m", d, "-z", "2", m}, {"2"});
    refuses_unchanged(cluster, {tdfs, "-f", "-m", d, "-c", "", m}, {});
    refuses_unchanged(cluster, {tdfs, "-f", "-m", d, "-c", "127.0.0.1:99999", m}, {"99999"});
    refuses_unchanged(cluster, {tdfs, "-f", "-m", d, m, "too much"}, {"too much"});
    refuses_unchanged(cluster, {tdfs, "-f", "-m", d, "--retain-bytes", "many", m}, {"many"});
    refuses_unchanged(cluster, {tdfs_slave}, {"-m"});
    refuses_unchanged(cluster, {tdfs_slave, "-f", "-m", s, "--nonsense"}, {"nonsense"});
    refuses_unchanged(cluster, {tdfs_slave, "-f", "-m", s, "-l", "127.0.0.1:99999"}, {"99999"});
    refuses_unchanged(cluster, {tdfs_slave, "-f", "-m", s, "-l", "nowhere.invalid:4710"}, {"nowhere.invalid"});
    refuses_unchanged(cluster, {tdfs_slave, "-f", "-m", s, "-l", "192.0.2.1:4710"}, {"192.0.2.1"});
    refuses_unchanged(cluster, {tdfs_slave, "-f", "-m", s, "too much"}, {"too much"});
}

TEST_CASE("directories that cannot be used are refused") {
    const Cluster cluster({.start = false});
    const std::string d = cluster.backing(), m = cluster.mount();
    write_to(cluster.plain() + "/file", "x");
    const std::string file = cluster.plain() + "/file", missing = cluster.plain() + "/missing";
    for (const std::string& wrong : {file, missing}) {
        refuses_unchanged(cluster, master(wrong, m), {wrong});
        refuses_unchanged(cluster, master(d, wrong), {wrong});
        refuses_unchanged(cluster, slave(wrong), {wrong});
    }
    // The mount point inside the backing directory would show the mount in itself, and the other way round it would hide
    // the backing directory.
    const std::string inside = d + "/mount";
    REQUIRE(mkdir(inside.c_str(), 0755) == 0);
    refuses_unchanged(cluster, master(d, inside), {inside});
    refuses_unchanged(cluster, master(inside, d), {inside});
    REQUIRE(symlink(inside.c_str(), (cluster.plain() + "/by a symlink").c_str()) == 0);
    refuses_unchanged(cluster, master(d, cluster.plain() + "/by a symlink"), {"mount"});
}

TEST_CASE("a directory that belongs to somebody already is refused") {
    Cluster cluster({.slaves = 2});
    write_to(cluster.mount() + "/file", "content");
    REQUIRE(mkdir((cluster.mount() + "/dir").c_str(), 0755) == 0);
    cluster.drain();
    const std::string other = cluster.scratch() + "/other";
    REQUIRE(mkdir(other.c_str(), 0755) == 0);
    // Daemons at work.
    refuses(master(cluster.backing(), other), {cluster.backing()});
    refuses(slave(cluster.replica()), {cluster.replica()});
    refuses(slave(cluster.backing()), {cluster.backing()});
    refuses(slave(cluster.backing() + "/dir"), {cluster.backing()});
    refuses(slave(cluster.mount()), {cluster.mount()});
    refuses(slave(cluster.mount() + "/dir"), {cluster.mount()});
    refuses(master(cluster.mount() + "/dir", other), {cluster.mount()});
    refuses(master(cluster.replica() + "/dir", other), {cluster.replica()});
    // Daemons at rest: roles stay.
    cluster.stop_slave(1);
    refuses(slave(cluster.replica(1) + "/dir"), {cluster.replica(1)});
    cluster.start_slave(1);
    write_to(cluster.mount() + "/after", "all is well");
    cluster.drain();
    CHECK(cluster.differences() == "");
    cluster.stop_master();
    refuses(slave(cluster.backing()), {cluster.backing()});
    cluster.start_master();
    cluster.wait_streaming();
}

TEST_CASE("a port that is in use is refused") {
    const Cluster cluster;
    const std::string port = std::to_string(cluster.slave_port());
    const std::string other = cluster.scratch() + "/other";
    REQUIRE(mkdir(other.c_str(), 0755) == 0);
    const std::string before = fingerprint(other);
    refuses({program("tdfs_slave"), "-f", "-m", other, "-l", "127.0.0.1:" + port}, {port});
    CHECK(fingerprint(other) == before);
}

TEST_CASE("a slave of another volume is refused and keeps what it has") {
    Cluster cluster;
    write_to(cluster.mount() + "/file", "of the first volume");
    cluster.drain();
    const std::string before = fingerprint(cluster.replica() + "/file");
    cluster.stop_master();

    const std::string dir = cluster.scratch() + "/second", mount = cluster.scratch() + "/second_mount";
    REQUIRE(mkdir(dir.c_str(), 0755) == 0);
    REQUIRE(mkdir(mount.c_str(), 0755) == 0);
    write_to(dir + "/file", "of the second volume");
    const std::string target = "127.0.0.1:" + std::to_string(cluster.slave_port());
    Process second =
        Process::start({program("tdfs"), "-f", "-m", dir, "-c", target, mount}, cluster.scratch() + "/second.log");
    nlohmann::json row;
    const bool refused = eventually([&] {
        const Ran ran = run({program("tdfsctl"), "-m", dir, "--json", "status"});
        row = ran.status == 0 ? nlohmann::json::parse(ran.out).at("slaves").at(0) : nlohmann::json();
        return ran.status == 0 && row.at("state") == "refused";
    });
    INFO(row.dump() << read_file(cluster.scratch() + "/second.log"));
    CHECK(refused);
    CHECK_THAT(row.at("detail").get<std::string>(), ContainsSubstring("volume"));
    CHECK(fingerprint(cluster.replica() + "/file") == before);
    CHECK(read_file(mount + "/file") == "of the second volume");  // the mount itself works
    CHECK(umount2(mount.c_str(), 0) == 0);
    CHECK(second.wait(patience()) == 0);

    cluster.start_master();
    cluster.wait_streaming();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("resyncs") == 0);
}

TEST_CASE("an empty directory in the place of a volume with content is refused") {
    Cluster cluster;
    write_to(cluster.mount() + "/file", "the only content");
    cluster.drain();
    cluster.stop_master();
    REQUIRE(unlink((cluster.backing() + "/file").c_str()) == 0);
    refuses(cluster.master_command(), {cluster.backing()});
    CHECK(read_file(cluster.replica() + "/file") == "the only content");
    write_to(cluster.backing() + "/file", "the only content");
    cluster.start_master();
    cluster.wait_streaming();
}

TEST_CASE("with its state elsewhere a backing directory that is not mounted is refused") {
    Cluster cluster({.start = false});
    const std::string state = cluster.scratch() + "/state";
    REQUIRE(mkdir(state.c_str(), 0700) == 0);
    const auto command = [&] {
        Words words = cluster.master_command();
        words.insert(words.begin() + 1, {"--state-dir", state});
        return words;
    };
    cluster.start_slave();
    {
        Process master = Process::start(command(), cluster.scratch() + "/master.log");
        REQUIRE(eventually([&] { return cluster.ctl({"--state-dir", state, "status"}).status == 0; }));
        write_to(cluster.mount() + "/file", "content");
        REQUIRE(cluster.ctl({"--state-dir", state, "drain"}).status == 0);
        CHECK(umount2(cluster.mount().c_str(), 0) == 0);
        CHECK(master.wait(patience()) == 0);
    }
    REQUIRE(run({"mv", cluster.backing(), cluster.backing() + ".away"}).status == 0);
    REQUIRE(mkdir(cluster.backing().c_str(), 0755) == 0);
    refuses(command(), {cluster.backing()});
    CHECK(run({"ls", "-A", cluster.backing()}).out == "");
    CHECK(read_file(cluster.replica() + "/file") == "content");
}

TEST_CASE("a damaged state is refused or made good, never followed") {
    Cluster cluster({.start = false});
    cluster.start_all();
    write_to(cluster.mount() + "/file", "content");
    cluster.drain();
    cluster.stop_master();
    cluster.stop_slave();
    for (const std::string& dir : {cluster.backing(), cluster.replica()}) {
        const std::string identity = dir + "/.tdfs/identity.json", marker = dir + "/.tdfs/volume";
        const std::string good = read_file(identity), good_marker = read_file(marker);
        REQUIRE(!good.empty());
        write_to(marker, "nonsense");  // alone each of the two is made good by the other
        const Words command = dir == cluster.backing() ? cluster.master_command() : cluster.slave_command();
        for (const std::string& bad :
             {std::string(), std::string("{"), std::string("nonsense"), std::string(100'000, 'x'),
              good.substr(0, good.size() / 2), std::string("{}"), std::string("[1,2,3]")}) {
            write_to(identity, bad);
            INFO("identity: " << bad.substr(0, 50));
            refuses(command, {".tdfs"});
            CHECK(read_file(identity) == bad);
        }
        write_to(identity, good);
        write_to(marker, good_marker);
    }
    cluster.start_all();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("resyncs") == 0);
    cluster.stop_slave();
    write_to(cluster.replica() + "/.tdfs/identity.json", "nonsense");
    cluster.start_slave();
    cluster.wait_streaming();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("resyncs") == 1);
    cluster.stop_slave();
    write_to(cluster.replica() + "/.tdfs/volume", "nonsense");
    cluster.start_slave();
    cluster.wait_streaming();
    CHECK(cluster.peer().at("resyncs") == 1);
}

namespace {

// A stranger on the slave's port, for a while.
class Stranger {
  public:
    explicit Stranger(std::uint16_t port) : fd_(connect_to(port)) {}
    ~Stranger() {
        if (fd_ >= 0) {
            close(fd_);
        }
    }
    Stranger(Stranger&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Stranger& operator=(Stranger&&) = delete;
    void send_bytes(const std::string& bytes) const { send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }

  private:
    int fd_;
};

}  // namespace

TEST_CASE("strangers on the slave's port are refused and disturb nobody") {
    Cluster cluster;
    REQUIRE(mkdir((cluster.mount() + "/storm").c_str(), 0777) == 0);
    const std::uint64_t seed = seed_for("strangers");
    Storm storm(cluster.mount() + "/storm", {.seed = seed, .threads = 2});
    std::mt19937_64 random(seed);
    const std::uint16_t port = cluster.slave_port();
    for (int i = 0; i < 200; i++) {
        std::string bytes(random() % 5000, '\0');
        for (char& c : bytes) {
            c = static_cast<char>(random());
        }
        Stranger(port).send_bytes(bytes);
    }
    Stranger(port).send_bytes("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    Stranger(port).send_bytes(std::string(1 << 20, '\xff'));
    Stranger(port).send_bytes(std::string(1 << 20, '\0'));
    {
        std::vector<Stranger> idle;
        for (int i = 0; i < 1000; i++) {
            idle.emplace_back(port);
            if (i % 3 == 0) {
                idle.back().send_bytes("half a handshake");
            }
        }
        const std::uint64_t before = storm.done();
        REQUIRE(eventually([&] { return storm.done() > before + 300; }));
        cluster.drain();  // with all of them connected
        const Ran descriptors = run({"sh", "-c", "ls /proc/$1/fd | wc -l", "sh", std::to_string(cluster.slave_pid())});
        std::cout << "descriptors of the slave: " << descriptors.out;
        CHECK(std::stoi(descriptors.out) < 1000);
    }
    storm.stop();
    CHECK(storm.surprises() == "");
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("connects") == 1);
    const std::string log = cluster.slave_log();
    std::cout << "lines in the slave's log: " << std::count(log.begin(), log.end(), '\n') << std::endl;
    CHECK(std::count(log.begin(), log.end(), '\n') < 1500);
}

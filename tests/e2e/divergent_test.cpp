// What somebody else changed in a replica is kept, with a report, before anything overwrites or removes it; and nothing
// else is kept.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <thread>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/e2e/storm/storm.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;
namespace fs = std::filesystem;

namespace {

// Changes by others are told apart from the daemon's own by the second in which they were made.
void let_the_second_pass() {
    const std::time_t now = std::time(nullptr);
    while (std::time(nullptr) <= now + 1) std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

struct Divergent {
    explicit Divergent(ClusterOptions options = {}) : cluster(options) {}

    void write(const std::string& name, const std::string& text) const { write_to(cluster.mount() + "/" + name, text); }
    [[nodiscard]] std::string here(const std::string& name) const { return cluster.replica() + "/" + name; }
    [[nodiscard]] std::string report() const { return read_file(here(".tdfs/divergent/report")); }
    [[nodiscard]] bool reported(const std::string& path, const std::string& what) const {
        return report().find(what + "  " + path + "  ") != std::string::npos;
    }
    // What is kept of this path; "-" if nothing is.
    [[nodiscard]] std::string kept(const std::string& path) const {
        if (!fs::exists(here(".tdfs/divergent"))) return "-";
        for (const auto& batch : fs::directory_iterator(here(".tdfs/divergent"))) {
            const fs::path file = batch.path() / path;
            if (fs::is_symlink(file)) return fs::read_symlink(file).string();
            if (fs::is_regular_file(file)) return read_file(file);
        }
        return "-";
    }
    [[nodiscard]] std::uint64_t lines() const { return cluster.slave_status().at("divergent"); }
    void stop_slave() {
        cluster.drain();
        cluster.stop_slave();
        let_the_second_pass();
    }
    void start_slave() {
        let_the_second_pass();
        cluster.start_slave();
    }
    // Its position is lost: everything is compared.
    void start_slave_to_resync() {
        fs::remove(here(".tdfs/applied"));
        start_slave();
    }
    void check_equal() {
        cluster.wait_streaming();
        cluster.drain();
        REQUIRE(cluster.differences() == "");
    }

    Cluster cluster;
};

// The slave finds itself on a machine that was booted anew. Its copies of mounts go: a mount of a master, this one or
// another test's, does not end while one is left.
void start_after_power_loss(Cluster& cluster, int n) {
    constexpr const char* kScript = R"(
awk '$3 ~ /^fuse/ { print $2 }' /proc/self/mounts | while read -r at; do umount -l "$at"; done
mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"
)";
    const std::string boot = cluster.scratch() + "/boot" + std::to_string(n);
    write_to(boot, "00000000-0000-4000-8000-00000000000" + std::to_string(n) + "\n");
    Words command{"unshare", "-m", "sh", "-c", kScript, "sh", boot};
    const Words slave = cluster.slave_command();
    command.insert(command.end(), slave.begin(), slave.end());
    cluster.start_slave_with(command);
}

}  // namespace

TEST_CASE("content that somebody changed and gave its old time is kept before a repair overwrites it") {
    Divergent d;
    d.write("index", "by the master");
    d.check_equal();
    struct stat before {};
    REQUIRE(stat(d.here("index").c_str(), &before) == 0);
    write_to(d.here("index"), "by an editor.");
    const timespec times[2] = {before.st_atim, before.st_mtim};
    REQUIRE(utimensat(AT_FDCWD, d.here("index").c_str(), times, 0) == 0);
    CHECK(d.cluster.ctl({"inspect", "--full", "--repair"}).status == 1);
    d.check_equal();
    CHECK(d.kept("index") == "by an editor.");
    CHECK(d.reported("index", "repair  content"));
    CHECK(d.lines() == 1);
    CHECK(slave_ctl(d.cluster, "status").out.find("DIVERGENT") != std::string::npos);
    CHECK(d.cluster.slave_log().find("divergent: ") != std::string::npos);
    CHECK(!fs::exists(d.cluster.mount() + "/.tdfs/divergent"));
    fs::remove_all(d.here(".tdfs/divergent"));
    CHECK(d.lines() == 0);
    CHECK(d.cluster.ctl({"inspect", "--full", "--repair"}).status == 0);
}

TEST_CASE("what was written to a stopped slave is kept before a resync overwrites or removes it") {
    Divergent d;
    for (const std::string name : {"content", "mode", "file", "untouched"}) d.write(name, "by the master: " + name);
    REQUIRE(mkdir((d.cluster.mount() + "/directory").c_str(), 0755) == 0);
    d.write("directory/inner", "by the master");
    REQUIRE(symlink("one", (d.cluster.mount() + "/link").c_str()) == 0);
    d.stop_slave();

    write_to(d.here("content"), "by somebody");
    REQUIRE(chmod(d.here("mode").c_str(), 0600) == 0);
    write_to(d.here("extra"), "never on the master");
    fs::create_directories(d.here("tree/deep"));
    write_to(d.here("tree/deep/file"), "in a tree of its own");
    fs::create_directory(d.here("tree/empty"));
    fs::remove(d.here("file"));
    fs::create_directory(d.here("file"));
    write_to(d.here("file/beneath"), "where a file was");
    fs::remove_all(d.here("directory"));
    write_to(d.here("directory"), "where a directory was");
    fs::remove(d.here("link"));
    REQUIRE(symlink("other", d.here("link").c_str()) == 0);
    d.start_slave_to_resync();
    d.check_equal();

    CHECK(d.kept("content") == "by somebody");
    CHECK(d.reported("content", "resync  content"));
    CHECK(d.reported("mode", "resync  mode"));
    CHECK(d.kept("extra") == "never on the master");
    CHECK(d.reported("extra", "resync  removed"));
    CHECK(d.kept("tree/deep/file") == "in a tree of its own");
    CHECK(d.reported("tree/empty", "resync  removed"));
    CHECK(d.kept("file/beneath") == "where a file was");
    CHECK(d.kept("directory") == "where a directory was");
    CHECK(d.kept("link") == "other");
    CHECK(d.report().find("untouched") == std::string::npos);
    CHECK(d.lines() == 8);
}

TEST_CASE("history that moves on over what was written to a stopped slave keeps it first") {
    Divergent d;
    for (const std::string name : {"written", "chmodded", "unlinked", "below", "moved", "untouched"}) {
        d.write(name, "by the master");
    }
    d.stop_slave();
    for (const std::string name : {"written", "chmodded", "unlinked", "below", "moved"}) {
        write_to(d.here(name), "by somebody: " + name);
    }
    fs::create_directory(d.here("made"));
    write_to(d.here("made/file"), "in the way");

    d.write("written", "later");
    REQUIRE(chmod((d.cluster.mount() + "/chmodded").c_str(), 0600) == 0);
    d.write("chmodded", "later");
    fs::remove(d.cluster.mount() + "/unlinked");
    d.write("new", "later");
    fs::rename(d.cluster.mount() + "/new", d.cluster.mount() + "/below");
    fs::rename(d.cluster.mount() + "/moved", d.cluster.mount() + "/elsewhere");
    d.write("elsewhere", "later");
    d.write("made", "later");
    d.write("untouched", "later");
    d.start_slave();
    d.check_equal();

    for (const std::string name : {"written", "chmodded", "unlinked", "below", "moved"}) {
        CHECK(d.kept(name) == "by somebody: " + name);
        CHECK(d.report().find("  " + name + "  ") != std::string::npos);
    }
    CHECK(d.kept("made/file") == "in the way");
    CHECK(d.report().find("untouched") == std::string::npos);
    CHECK(d.cluster.slave_status().at("counts").at("resyncs") == 0);
}

TEST_CASE("nothing is kept of what is merely old: after an absence beyond the history, a kill, a power loss") {
    Divergent d({.master_args = {"--segment-bytes", "8388800", "--retain-bytes", "16777600"}});
    const std::string storm_dir = d.cluster.mount() + "/storm";
    REQUIRE(mkdir(storm_dir.c_str(), 0777) == 0);
    const auto change = [&] {
        Storm storm(storm_dir, {.seed = seed_for("divergent"), .threads = 2, .operations = 100});
        storm.wait();
        CHECK(storm.surprises() == "");
    };
    change();
    d.stop_slave();
    change();
    const std::string chunk(1 << 20, 'x');
    REQUIRE(eventually([&] {
        d.write("filler", chunk);
        return d.cluster.peer().at("history_lost") == true;
    }));
    fs::remove(d.cluster.mount() + "/filler");
    d.start_slave();
    d.check_equal();
    CHECK(d.cluster.slave_status().at("counts").at("resyncs") == 1);

    for (int n = 1; n <= 2; n++) {
        change();
        d.cluster.kill_slave();
        change();
        let_the_second_pass();
        start_after_power_loss(d.cluster, n);
        d.check_equal();
        CHECK(d.cluster.slave_status().at("counts").at("resyncs") == 1);
    }
    change();
    d.cluster.kill_slave();
    change();
    d.start_slave_to_resync();
    d.check_equal();
    CHECK(d.lines() == 0);
    CHECK(d.report() == "");
    CHECK(!fs::exists(d.here(".tdfs/divergent")));
}

TEST_CASE("nothing is kept of a directory that was adopted") {
    Divergent d({.slave_args = {"--adopt"}, .start = false});
    write_to(d.here("extra"), "given up");
    write_to(d.here("same"), "given up too");
    d.cluster.start_slave();
    let_the_second_pass();
    write_to(d.here("late"), "before there was a master");
    let_the_second_pass();
    write_to(d.cluster.backing() + "/same", "by the master");
    d.cluster.start_master();
    d.check_equal();
    CHECK(d.lines() == 0);
}

TEST_CASE("where there is no room to keep more, nothing is overwritten until somebody has made some") {
    Divergent d({.slave_args = {"--divergent-limit", "1M:2"}});
    d.write("file", "by the master");
    d.stop_slave();
    for (int i = 0; i < 3; i++) write_to(d.here("extra" + std::to_string(i)), "extra");
    d.start_slave_to_resync();
    const auto refused = [&] { return d.cluster.slave_status().at("divergent_refused").get<std::string>(); };
    REQUIRE(eventually([&] { return !refused().empty(); }));
    CHECK(refused().find("--divergent-limit") != std::string::npos);
    CHECK(d.lines() == 2);
    CHECK(read_file(d.here("extra2")) == "extra");
    fs::remove_all(d.here(".tdfs/divergent"));
    d.check_equal();
    CHECK(d.kept("extra2") == "extra");
    CHECK(refused().empty());
}

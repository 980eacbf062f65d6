// How much history is kept: limits in bytes and in age, a full disk, and slaves that fall behind.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;

namespace {

constexpr std::size_t kMiB = 1 << 20;
constexpr const char* kSegment = "8388800";  // the smallest

// 0 or errno.
int write_chunk(const std::string& path, char letter, std::size_t bytes = kMiB) {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT, 0644);
    if (fd < 0) return errno;
    const std::string text(bytes, letter);
    const ssize_t n = pwrite(fd, text.data(), text.size(), 0);
    const int error = n == static_cast<ssize_t>(bytes) ? 0 : n < 0 ? errno : ENOSPC;
    close(fd);
    return error;
}

std::uint64_t free_bytes(const std::string& path) {
    struct statvfs s {};
    REQUIRE(statvfs(path.c_str(), &s) == 0);
    return std::uint64_t{s.f_bavail} * s.f_frsize;
}

std::size_t count_of(const std::string& text, const std::string& what) {
    std::size_t n = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
    return n;
}

// A backing directory on a small file system of its own; gone with the cluster's scratch directory.
void on_small_disk(const Cluster& cluster, const std::string& size) {
    REQUIRE(mount("none", cluster.backing().c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0);
}

}  // namespace

TEST_CASE("the journal leaves the reserve free: old history goes, and slaves behind are resynced") {
    constexpr std::uint64_t kReserve = 32 * kMiB;
    Cluster cluster(
        {.master_args = {"--segment-bytes", kSegment, "--reserve", std::to_string(kReserve)}, .start = false});
    on_small_disk(cluster, "128m");
    cluster.start_all();
    cluster.drain();
    const auto resyncs = cluster.peer().at("resyncs").get<std::uint64_t>();
    cluster.stop_slave();
    std::uint64_t least = ~std::uint64_t{0};
    for (int i = 0; i < 200; i++) {
        REQUIRE(write_chunk(cluster.mount() + "/file", static_cast<char>('a' + i % 26)) == 0);
        least = std::min(least, free_bytes(cluster.backing()));
    }
    CHECK(least >= kReserve);
    const auto status = cluster.master_status();
    CHECK(status.at("reserve_bytes") == kReserve);
    CHECK(status.at("given_up_segments") > 0);
    CHECK(count_of(cluster.master_log(), "the disk is full") == 1);
    CHECK(eventually([&] { return cluster.peer().at("history_lost") == true; }));
    CHECK(eventually([&] { return count_of(cluster.master_log(), "has fallen out of the history") == 1; }));
    cluster.start_slave();
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.peer().at("resyncs") == resyncs + 1);
    CHECK(cluster.peer().at("history_lost") == false);
    CHECK(cluster.differences() == "");
}

TEST_CASE("on a full disk a change is refused before it is done, files can be removed, and all goes on") {
    Cluster cluster({.master_args = {"--segment-bytes", kSegment, "--reserve", "16777216"}, .start = false});
    on_small_disk(cluster, "128m");
    cluster.start_all();
    constexpr int kFiles = 40;
    for (int i = 0; i < kFiles; i++) REQUIRE(write_chunk(cluster.mount() + "/data" + std::to_string(i), 'd') == 0);
    cluster.drain();
    // Somebody else fills the disk, and takes what the journal gives up of its history.
    std::ofstream ballast(cluster.backing() + "/.tdfs/ballast", std::ios::binary);
    const auto fill = [&] {
        const std::string block(64 << 10, 'b');
        while (ballast.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
        }
        ballast.clear();
    };
    // In place: these need no space but for their records. First no large ones fit, at last none at all.
    const std::string victim = cluster.mount() + "/data0";
    char last = 'd';
    for (const std::size_t bytes : {kMiB, 256 * kMiB / 1024, 16 * kMiB / 1024, kMiB / 1024, kMiB / 1024 / 1024}) {
        int rounds = 0;
        for (; rounds < 1000; rounds++) {
            fill();
            const char letter = static_cast<char>('A' + rounds % 26);
            if (write_chunk(victim, letter, bytes) != 0) break;
            last = letter;
        }
        REQUIRE(rounds < 1000);
        CHECK(read_file(cluster.backing() + "/data0")[0] == last);
        CHECK(read_file(victim) == read_file(cluster.backing() + "/data0"));
    }
    CHECK(mkdir((cluster.mount() + "/directory").c_str(), 0755) != 0);
    CHECK(errno == ENOSPC);
    CHECK(cluster.ctl({"status"}).out.find("changes are refused") != std::string::npos);
    for (int i = 1; i < kFiles; i++) {
        REQUIRE(unlink((cluster.mount() + "/data" + std::to_string(i)).c_str()) == 0);
    }
    CHECK(eventually([&] { return write_chunk(victim, '!') == 0; }));
    CHECK(mkdir((cluster.mount() + "/directory").c_str(), 0755) == 0);
    CHECK(eventually([&] { return cluster.master_status().at("state") == "running"; }));
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("a slave that nears the end of the history is named before it falls out, and then gets only what differs") {
    Cluster cluster({.master_args = {"--segment-bytes", kSegment, "--retain-bytes", "33554432"}});
    for (int i = 0; i < 40; i++) REQUIRE(write_chunk(cluster.mount() + "/old" + std::to_string(i), 'o') == 0);
    cluster.drain();
    cluster.stop_slave();
    for (int i = 0; i < 26; i++) REQUIRE(write_chunk(cluster.mount() + "/new", static_cast<char>('a' + i)) == 0);
    const auto near = cluster.peer();
    CHECK(near.at("history_known") == true);
    CHECK(near.at("history_lost") == false);
    CHECK(near.at("history_percent") >= 75);
    CHECK(near.at("history_left") > 0);
    CHECK(near.at("history_left") < 8 * kMiB);
    CHECK(cluster.ctl({"status"}).out.find("falls out of the history that is kept in") != std::string::npos);
    CHECK(eventually([&] { return count_of(cluster.master_log(), "falls out of the history") == 1; }));
    for (int i = 0; i < 40; i++) REQUIRE(write_chunk(cluster.mount() + "/new", static_cast<char>('a' + i % 26)) == 0);
    CHECK(eventually([&] { return cluster.peer().at("history_lost") == true; }));
    CHECK(cluster.ctl({"status"}).out.find("has fallen out of the history") != std::string::npos);
    const auto sent = cluster.peer().at("bytes_sent").get<std::uint64_t>();
    cluster.start_slave();
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.differences() == "");
    const auto resynced = cluster.peer().at("bytes_sent").get<std::uint64_t>() - sent;
    CHECK(resynced < 2 * kMiB);  // one file of 1 MiB differs, 40 do not
    CHECK(cluster.slave_status().at("counts").at("resync_fetched_files") == 1);
    CHECK(count_of(cluster.master_log(), "falls out of the history") == 1);
    CHECK(eventually([&] { return count_of(cluster.master_log(), "has fallen out of the history") == 1; }));
}

TEST_CASE("history that is older than --retain-age goes though a slave has not read it") {
    Cluster cluster({.master_args = {"--segment-bytes", kSegment, "--retain-age", "1"}});
    cluster.drain();
    cluster.stop_slave();
    const auto oldest = cluster.master_status().at("oldest").get<std::uint64_t>();
    REQUIRE(eventually([&] {
        CHECK(write_chunk(cluster.mount() + "/file", 'x') == 0);
        return cluster.master_status().at("oldest").get<std::uint64_t>() > oldest;
    }));
    cluster.start_slave();
    cluster.wait_streaming();
    cluster.drain();
    CHECK(cluster.differences() == "");
}

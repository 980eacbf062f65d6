// What things cost: bytes on the slave's link, and memory.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iostream>
#include <random>
#include <thread>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/tree_compare.hpp"

using namespace tdfs::e2e;

namespace {

constexpr std::size_t kMiB = 1 << 20;

std::vector<char> random_bytes(std::size_t size) {
    std::mt19937_64 random(7);
    std::vector<char> bytes(size);
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<char>(random()); });
    return bytes;
}

void write_chunks(int fd, const std::vector<char>& chunk, std::size_t count) {
    for (std::size_t i = 0; i < count; i++) {
        REQUIRE(write(fd, chunk.data(), chunk.size()) == static_cast<ssize_t>(chunk.size()));
    }
}

// Bytes on the link to the first slave for what `change` does.
template <typename Change>
std::uint64_t bytes_for(Cluster& cluster, Change change) {
    cluster.drain();
    const std::uint64_t before = cluster.peer().at("bytes_sent");
    change();
    cluster.drain();
    const std::uint64_t after = cluster.peer().at("bytes_sent");
    return after - before;
}

// Resident anonymous memory of a process, in bytes.
std::uint64_t anonymous_memory(pid_t pid) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
        if (line.rfind("RssAnon:", 0) == 0) {
            return std::stoull(line.substr(8)) * 1024;
        }
    }
    return 0;
}

}  // namespace

TEST_CASE("a new file costs the link its size and 1 % at most") {
    Cluster cluster;
    const std::size_t mib = scaled(1024, 32);
    const std::vector<char> chunk = random_bytes(kMiB);
    const std::uint64_t bytes = bytes_for(cluster, [&] {
        const int fd = open((cluster.mount() + "/file").c_str(), O_WRONLY | O_CREAT, 0644);
        write_chunks(fd, chunk, mib);
        close(fd);
    });
    std::cout << mib << " MiB cost " << bytes << " bytes" << std::endl;
    CHECK(static_cast<double>(bytes) <= 1.01 * static_cast<double>(mib * kMiB));
    CHECK(cluster.differences() == "");
}

TEST_CASE("renaming a directory of 10,000 files costs less than a KiB") {
    Cluster cluster;
    REQUIRE(mkdir((cluster.mount() + "/directory").c_str(), 0755) == 0);
    for (std::size_t i = 0; i < scaled(10'000, 1000); i++) {
        const int fd = open((cluster.mount() + "/directory/" + std::to_string(i)).c_str(), O_WRONLY | O_CREAT, 0644);
        REQUIRE(fd >= 0);
        close(fd);
    }
    const std::uint64_t bytes = bytes_for(cluster, [&] {
        REQUIRE(rename((cluster.mount() + "/directory").c_str(), (cluster.mount() + "/renamed").c_str()) == 0);
    });
    std::cout << "cost " << bytes << " bytes" << std::endl;
    CHECK(bytes < 1024);
    CHECK(cluster.differences() == "");
}

TEST_CASE("a write of 4 KiB costs at most 4.3 KiB") {
    Cluster cluster;
    const std::size_t writes = scaled(100'000, 5000);
    const std::vector<char> chunk = random_bytes(4096);
    const std::uint64_t bytes = bytes_for(cluster, [&] {
        const int fd = open((cluster.mount() + "/file").c_str(), O_WRONLY | O_CREAT, 0644);
        write_chunks(fd, chunk, writes);
        close(fd);
    });
    std::cout << writes << " writes cost " << bytes << " bytes, " << bytes / writes << " each" << std::endl;
    CHECK(static_cast<double>(bytes) <= 4.3 * 1024 * static_cast<double>(writes));
    CHECK(cluster.differences() == "");
}

TEST_CASE("compression makes the link's bytes fewer") {
    Cluster cluster({.compress = true});
    const std::vector<char> chunk(kMiB, 'a');
    const std::uint64_t bytes = bytes_for(cluster, [&] {
        const int fd = open((cluster.mount() + "/file").c_str(), O_WRONLY | O_CREAT, 0644);
        write_chunks(fd, chunk, 16);
        close(fd);
    });
    std::cout << "16 MiB of one letter cost " << bytes << " bytes" << std::endl;
    CHECK(bytes < 2 * kMiB);
    CHECK(cluster.differences() == "");
}

TEST_CASE("memory stays bounded while slaves follow, also with one that is stopped") {
    constexpr std::uint64_t kLimit = 100 * kMiB;
    Cluster cluster({.slaves = 3});
    const std::vector<char> chunk = random_bytes(kMiB);
    const int fd = open((cluster.mount() + "/file").c_str(), O_RDWR | O_CREAT, 0644);
    REQUIRE(fd >= 0);
    cluster.freeze_slave(2);

    std::uint64_t most[4] = {};
    std::atomic<bool> stop = false;
    std::thread sampler([&] {
        const pid_t pids[4] = {cluster.master_pid(), cluster.slave_pid(0), cluster.slave_pid(1), cluster.slave_pid(2)};
        while (!stop) {
            for (std::size_t i = 0; i < 4; i++) {
                most[i] = std::max(most[i], anonymous_memory(pids[i]));
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
    });
    // 4 GiB in all, four times over the same file: the disk holds five copies of it and four journals.
    const std::size_t mib = scaled(1024, 64);
    bool good = true;
    for (int pass = 0; pass < 4 && good; pass++) {
        for (std::size_t i = 0; i < mib && good; i++) {
            good = pwrite(fd, chunk.data(), chunk.size(), static_cast<off_t>(i * kMiB)) == static_cast<ssize_t>(kMiB);
        }
        if (pass == 2) {
            cluster.thaw_slave(2);
        }
    }
    close(fd);
    CHECK(good);
    cluster.drain();
    stop = true;
    sampler.join();
    for (const std::uint64_t bytes : most) {
        std::cout << "at most " << bytes / 1024 << " KiB of anonymous memory" << std::endl;
        CHECK((sanitized() || bytes < kLimit));
    }
    CHECK(cluster.differences() == "");
}

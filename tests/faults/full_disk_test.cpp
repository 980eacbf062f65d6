// A disk that is full for a while, under load, on either side.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/e2e/storm/storm.hpp"
#include "tests/faults/support/faulted.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;
using namespace tdfs::faults;

namespace {

// A small file system of its own over a directory; the scratch directory's helper unmounts it.
void make_small(const std::string& dir, const std::string& size) {
    REQUIRE(mount("tdfs-test", dir.c_str(), "tmpfs", 0, ("size=" + size + ",mode=0755").c_str()) == 0);
}

std::uint64_t free_bytes(const std::string& dir) {
    struct statvfs s {};
    REQUIRE(statvfs(dir.c_str(), &s) == 0);
    return s.f_bavail * s.f_frsize;
}

// Fills what is free up to a remainder, with a file that is not the volume's (beneath its state directory).
class Ballast {
  public:
    Ballast(const std::string& dir, std::uint64_t left) : path_(dir + "/.tdfs/ballast") {
        fd_ = open(path_.c_str(), O_WRONLY | O_CREAT, 0600);
        REQUIRE(fd_ >= 0);
        // Others write meanwhile, and free what they wrote: half of what is left at a time.
        off_t size = 0;
        REQUIRE(eventually([&] {
            const std::uint64_t all = free_bytes(dir);
            if (all <= left) return true;
            const auto half = static_cast<off_t>((all - left + 1) / 2);
            if (posix_fallocate(fd_, size, half) == 0) size += half;
            return false;
        }));
    }
    ~Ballast() {
        close(fd_);
        unlink(path_.c_str());
    }
    Ballast(const Ballast&) = delete;
    Ballast& operator=(const Ballast&) = delete;

  private:
    std::string path_;
    int fd_ = -1;
};

constexpr std::size_t kChunk = 100'000;

// Where a file that was allocated or punched has holes, tmpfs and the other side's file system see differently.
constexpr bool kWithoutHoles = false;

// Writes until an error comes: what write() answered. The bytes that were taken are those of the file.
int write_until_error(const std::string& path, std::size_t chunks) {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0) {
        return errno;
    }
    const std::string chunk(kChunk, 'c');
    int error = 0;
    for (std::size_t i = 0; i < chunks && error == 0; i++) {
        error = write(fd, chunk.data(), chunk.size()) < 0 ? errno : 0;
    }
    close(fd);
    return error;
}

// How long a disk stays full under load: TDFS_FAULTS_SECONDS, or a few.
std::chrono::seconds full_for() {
    const char* text = std::getenv("TDFS_FAULTS_SECONDS");
    return std::chrono::seconds(text != nullptr ? std::strtol(text, nullptr, 10) : 3);
}

// A program that writes numbered lines to one file, each again until it is taken, and knows how many were.
class Ledger {
  public:
    explicit Ledger(const std::string& path) : fd_(open(path.c_str(), O_WRONLY | O_CREAT, 0644)) {
        REQUIRE(fd_ >= 0);
        thread_ = std::thread([this] { work(); });
    }
    ~Ledger() { stop(); }
    Ledger(const Ledger&) = delete;
    Ledger& operator=(const Ledger&) = delete;

    void stop() {
        stop_ = true;
        if (!thread_.joinable()) return;
        thread_.join();
        close(fd_);
    }
    [[nodiscard]] std::size_t taken() const { return taken_; }
    [[nodiscard]] std::size_t refused() const { return refused_; }  // ENOSPC
    [[nodiscard]] std::size_t failed() const { return failed_; }    // anything else
    // How many of the lines that were taken do not stand in this copy.
    [[nodiscard]] std::size_t missing_in(const std::string& path) const {
        const std::string copy = read_file(path);
        std::size_t missing = 0;
        for (std::size_t i = 0; i < taken_; i++) {
            if (copy.compare(std::min(copy.size(), i * kLine), kLine, line(i)) != 0) missing++;
        }
        return missing;
    }

  private:
    static constexpr std::size_t kLine = 16;
    static std::string line(std::size_t n) {
        const std::string digits = std::to_string(n);
        return std::string(kLine - 1 - digits.size(), ' ') + digits + "\n";
    }
    void work() {
        while (!stop_) {
            const std::string text = line(taken_);
            const auto done = pwrite(fd_, text.data(), kLine, static_cast<off_t>(taken_ * kLine));
            const bool whole = done == static_cast<ssize_t>(kLine);
            if (whole && (taken_ % 100 != 0 || fsync(fd_) == 0)) {
                taken_++;
            } else if (whole || done < 0) {
                (errno == ENOSPC ? refused_ : failed_)++;
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            }
        }
    }

    const int fd_;
    std::atomic<bool> stop_ = false;
    std::atomic<std::size_t> taken_ = 0, refused_ = 0, failed_ = 0;
    std::thread thread_;
};

std::string storm_root(const Cluster& cluster) {
    const std::string root = cluster.mount() + "/storm";
    REQUIRE(mkdir(root.c_str(), 0777) == 0);
    REQUIRE(chmod(root.c_str(), 0777) == 0);
    return root;
}

}  // namespace

TEST_CASE("a master's full disk is the application's error, nothing that was done is lost, and it goes on with space") {
    Cluster cluster({.master_args = {"--segment-bytes", "8388800", "--retain-bytes", "16777600"}, .start = false});
    make_small(cluster.backing(), "200m");
    cluster.start_all();
    const std::size_t rounds = count_of(3);
    for (std::size_t n = 0; n < rounds; n++) {
        const std::string name = cluster.mount() + "/big" + std::to_string(n % 2);
        {
            const Ballast ballast(cluster.backing(), (n % 4) * 1'000'000);
            CHECK(write_until_error(name, 2000) == ENOSPC);
            CHECK(write_until_error(cluster.mount() + "/other", 1000) == ENOSPC);
            cluster.drain();
            CHECK(cluster.differences() == "");
        }
        REQUIRE(
            eventually([&] { return write_until_error(cluster.mount() + "/after" + std::to_string(n % 2), 1) == 0; }));
        cluster.drain();
        CHECK(cluster.differences() == "");
        for (const std::string& each :
             {name, cluster.mount() + "/other"}) {  // there was not even room for a name, maybe
            REQUIRE((unlink(each.c_str()) == 0 || errno == ENOENT));
        }
        cluster.drain();
        CHECK(cluster.differences() == "");
    }
    CHECK(cluster.master_status().at("state") == "running");
    CHECK(cluster.peer().at("resyncs") <= 1);
}

TEST_CASE("a slave's full disk stops the replay with its reason, holds up nobody, and space is all it needs") {
    Cluster cluster({.start = false});
    make_small(cluster.replica(), "300m");
    cluster.start_all();
    cluster.drain();
    const auto resyncs = resyncs_of(cluster);
    const std::size_t rounds = count_of(2);
    for (std::size_t n = 0; n < rounds; n++) {
        const std::string name = cluster.mount() + "/big" + std::to_string(n % 2);
        {
            const Ballast ballast(cluster.replica(), 2'000'000);
            CHECK(write_until_error(name, 50) == 0);  // the master has room
            REQUIRE(eventually([&] { return cluster.slave_status().at("state") == "stalled"; }));
            CHECK(cluster.slave_status().dump().find("No space left") != std::string::npos);
            CHECK(write_until_error(cluster.mount() + "/more", 10) == 0);
        }
        cluster.drain();
        CHECK(cluster.differences() == "");
        REQUIRE(unlink(name.c_str()) == 0);
        REQUIRE(unlink((cluster.mount() + "/more").c_str()) == 0);
        cluster.drain();
    }
    CHECK(cluster.differences() == "");
    CHECK(resyncs_of(cluster) == resyncs);
}

TEST_CASE(
    "a master's disk that is full for a while under load loses nothing that was accepted, and goes on by itself") {
    const auto seed = seed_for("the master's disk is full");
    Cluster cluster({.master_args = {"--segment-bytes", "8388800", "--retain-bytes", "16777600"}, .start = false});
    make_small(cluster.backing(), "200m");
    cluster.start_all();
    Storm storm(storm_root(cluster), {.seed = seed, .may_be_full = true});
    Ledger ledger(cluster.mount() + "/ledger");
    REQUIRE(eventually([&] { return ledger.taken() > 100; }));
    const std::string big = cluster.mount() + "/big";
    std::size_t full = 0;
    {
        const Ballast ballast(cluster.backing(), 20'000'000);
        const auto until = Clock::now() + full_for();
        // Whoever fills a disk removes something, and fills it again.
        while (full == 0 || Clock::now() < until) {
            REQUIRE(write_until_error(big, 2000) == ENOSPC);
            full++;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            REQUIRE((unlink(big.c_str()) == 0 || errno == ENOENT));
        }
    }
    const auto taken = ledger.taken();
    const auto done = storm.done_by_slowest();
    CHECK(eventually([&] { return ledger.taken() > taken + 100 && storm.done_by_slowest() > done + 10; }));
    storm.stop();
    ledger.stop();
    CHECK(storm.surprises() == "");
    CHECK(ledger.failed() == 0);
    cluster.drain();
    CHECK(cluster.differences(kWithoutHoles) == "");
    CHECK(ledger.missing_in(cluster.backing() + "/ledger") == 0);
    CHECK(ledger.missing_in(cluster.replica() + "/ledger") == 0);
    CHECK(cluster.master_status().at("state") == "running");
    std::cout << "full " << full << " times; " << storm.done() << " operations; " << ledger.taken() << " lines taken, "
              << ledger.refused() << " refused; resyncs " << cluster.peer().at("resyncs") << std::endl;
}

TEST_CASE(
    "a slave's disk that is full for a while under load loses nothing, is nobody's error, and goes on by itself") {
    const auto seed = seed_for("the slave's disk is full");
    Cluster cluster({.start = false});
    // What a storm leaves behind has to fit in the end: half a gigabyte in a minute.
    make_small(cluster.replica(), full_for() > std::chrono::seconds(10) ? "4g" : "300m");
    cluster.start_all();
    const auto resyncs = resyncs_of(cluster);
    Storm storm(storm_root(cluster), {.seed = seed});
    Ledger ledger(cluster.mount() + "/ledger");
    {
        const Ballast ballast(cluster.replica(), 2'000'000);
        const auto until = Clock::now() + full_for();
        REQUIRE(write_until_error(cluster.mount() + "/big", 50) == 0);  // the master has room
        REQUIRE(eventually([&] { return cluster.slave_status().at("state") == "stalled"; }));
        CHECK(cluster.slave_status().dump().find("No space left") != std::string::npos);
        while (Clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(10));
        const auto taken = ledger.taken();
        CHECK(eventually([&] { return ledger.taken() > taken; }));
    }
    storm.stop();
    ledger.stop();
    CHECK(storm.surprises() == "");
    CHECK(ledger.failed() + ledger.refused() == 0);
    cluster.drain();
    CHECK(cluster.differences(kWithoutHoles) == "");
    CHECK(ledger.missing_in(cluster.replica() + "/ledger") == 0);
    CHECK(resyncs_of(cluster) == resyncs);
    std::cout << storm.done() << " operations; " << ledger.taken() << " lines taken" << std::endl;
}

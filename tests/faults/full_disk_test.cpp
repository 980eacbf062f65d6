// A disk that is full for a while, under load, on either side.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <iostream>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
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
        const std::uint64_t all = free_bytes(dir);
        if (all > left) {
            REQUIRE(posix_fallocate(fd_, 0, static_cast<off_t>(all - left)) == 0);
        }
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

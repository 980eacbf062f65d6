// A daemon that dies at its N-th call of one kind, for all kinds it uses: between any two of its steps.

#include <sys/stat.h>

#include <array>
#include <csignal>
#include <iostream>
#include <random>

#include "tests/e2e/harness/scale.hpp"
#include "tests/faults/support/faulted.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;
using namespace tdfs::faults;

namespace {

// All calls by which a daemon leaves something in the world, and some more; the first ones are used often. One that a daemon
// does not use has no points.
constexpr std::size_t kOften = 19;
constexpr std::array kCalls{
    "pwritev",   "pwrite64", "write",     "writev",    "sendfile",     "sendto",    "fsync",     "fdatasync",
    "renameat2", "unlinkat", "mkdirat",   "mknodat",   "linkat",       "symlinkat", "fallocate", "copy_file_range",
    "setxattr",  "openat",   "utimensat", "truncate",  "ftruncate",    "renameat",  "syncfs",    "msync",
    "sendmsg",   "chmod",    "fsetxattr", "lsetxattr", "removexattr",  "lchown",    "fchmod",    "fchmodat",
    "fchownat",  "chown",    "openat2",   "recvfrom",  "lremovexattr", "mmap"};
constexpr std::size_t kOperations = 200;

// A cluster one of whose daemons is killed by strace in one run after another.
class CrashPoints {
  public:
    CrashPoints(bool of_master, const ClusterOptions& options, std::uint64_t seed)
        : cluster_(options), of_master_(of_master), seed_(seed) {
        where_ = cluster_.mount() + "/run";
        REQUIRE(mkdir(where_.c_str(), 0777) == 0);
        Storm storm(where_, {.seed = seed, .threads = 2, .operations = 2000});  // so that there is something to change
        storm.wait();
        cluster_.drain();
        resyncs_ = resyncs_of(cluster_);
    }

    // One run; false if it came to its end, since the daemon has made fewer such calls.
    bool visit(const std::string& call, std::size_t n) {
        INFO((of_master_ ? "master" : "slave") << ", " << call << " number " << n << ", seed " << seed_);
        const bool killed = run_until_killed(call, n);
        if (of_master_) {
            cluster_.start_master();
        } else {
            cluster_.start_slave();
        }
        cluster_.wait_streaming();
        cluster_.drain();
        CHECK(cluster_.differences() == "");
        CHECK(resyncs_of(cluster_) == resyncs_);
        return killed;
    }

  private:
    bool run_until_killed(const std::string& call, std::size_t n) {
        Words command = tampering_with(call, "signal=SIGKILL:when=" + std::to_string(n));
        const Words daemon = of_master_ ? cluster_.master_command() : cluster_.slave_command();
        command.insert(command.end(), daemon.begin(), daemon.end());
        if (of_master_) {
            cluster_.kill_master();
            cluster_.launch_master_with(command);
            cluster_.await_master_or_end();
        } else {
            cluster_.kill_slave();
            cluster_.launch_slave_with(command);
            cluster_.await_slave_or_end();
        }
        if (runs()) {
            Storm storm(where_, {.seed = seed_, .threads = 1, .operations = kOperations, .may_fail = true});
            storm.wait();
            CHECK(storm.surprises() == "");
            while (runs() && cluster_.ctl({"drain", "--timeout", "1"}).status != 0) {
            }
        }
        if (runs()) {  // its end is a part of it as well
            REQUIRE(
                run({program("tdfsctl"), "-m", of_master_ ? cluster_.backing() : cluster_.replica(), "stop"}).status <
                128);
            REQUIRE(eventually([&] { return !runs(); }));
        }
        const int status = of_master_ ? cluster_.end_of_master() : cluster_.end_of_slave();
        REQUIRE((status == 0 || status == 128 + SIGKILL));
        return status != 0;
    }

    bool runs() { return of_master_ ? cluster_.master_runs() : cluster_.slave_runs(); }

    Cluster cluster_;
    const bool of_master_;
    const std::uint64_t seed_;
    std::string where_;
    std::vector<std::size_t> resyncs_;
};

// TDFS_FAULTS_COUNT: not more points of each call. Without it, some points anywhere.
void visit_points(bool of_master, const ClusterOptions& options = {}) {
    if (!have_tool("strace")) {
        std::cout << "strace is not installed: no crash points" << std::endl;
        return;
    }
    const std::uint64_t seed = seed_for("crash points");
    CrashPoints points(of_master, options, seed);
    std::size_t visited = 0;
    const std::size_t most = count_of(0);
    if (most == 0) {
        std::mt19937_64 random(seed);
        std::size_t runs = 0;
        for (; runs < 15 && visited < 8; runs++) {
            const auto n = std::size_t{1} << random() % 5;
            visited += points.visit(kCalls[random() % kOften], n + random() % n);
        }
        std::cout << visited << " points met in " << runs << " runs" << std::endl;
        return;
    }
    for (const std::string call : kCalls) {
        std::size_t n = 0;
        while (n < most && points.visit(call, n + 1)) {
            n++;
        }
        visited += n;
        std::cout << call << ": " << n << " points" << std::endl;
    }
    std::cout << visited << " points" << std::endl;
}

}  // namespace

TEST_CASE("a master killed at any of its calls loses nothing and is not stuck") { visit_points(true); }

TEST_CASE("a slave killed at any of its calls loses nothing and is not stuck") { visit_points(false); }

TEST_CASE("the same holds for a master that compresses, and whose fsyncs wait for the slave") {
    visit_points(true, {.master_args = {"-z", "1", "--sync", "1"}});
}

TEST_CASE("the same holds for a slave that applies with several workers") {
    visit_points(false, {.slave_args = {"--apply-workers", "4"}});
}

// System calls of the master that take as long as the test wants: what may wait for them, and what may not. strace does it.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <latch>
#include <thread>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/rings.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;

namespace {

// Longer than all that is to be done meanwhile; whoever is through lets the calls go on by letting the tracer go.
constexpr auto kSlowUs = "120000000";

// Holds up the calls named `call` from the `first`-th on.
Words slowing(const std::string& call, int first) {
    return tampering_with(call, std::string("delay_enter=") + kSlowUs + ":when=" + std::to_string(first) + "+");
}

pid_t tracer_of(pid_t process) {
    std::ifstream status("/proc/" + std::to_string(process) + "/status");
    for (std::string word; status >> word;) {
        pid_t tracer = 0;
        if (word == "TracerPid:" && status >> tracer) return tracer;
    }
    return 0;
}

bool is_mounted(const std::string& point) {
    std::ifstream mounts("/proc/self/mounts");
    for (std::string line; std::getline(mounts, line);) {
        if (line.find(" " + point + " fuse.tdfs ") != std::string::npos) return true;
    }
    return false;
}

bool have_strace() {
    if (have_tool("strace")) return true;
    std::cout << "strace is not installed: no call is slow" << std::endl;
    return false;
}

// How many threads of the process are in that system call.
int threads_in(pid_t process, long call) {
    int count = 0;
    for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task")) {
        std::ifstream file(task.path() / "syscall");  // empty where it has just ended
        long number = -1;
        if (file >> number && number == call) ++count;
    }
    return count;
}

// All from one core: over io_uring each has a queue of its own. They ask at once, so most of them while nobody takes requests; and nothing
// else is asked until all are taken.
void serves_while_others_wait(const Words& master_args) {
    Cluster cluster({.slaves = 0, .master_args = master_args});
    constexpr int kWaiters = 12;
    std::vector<int> files;
    for (int i = 0; i < kWaiters; ++i) {
        files.push_back(
            ::open((cluster.mount() + "/waits" + std::to_string(i)).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
        REQUIRE(files.back() >= 0);
    }
    Words command = slowing("fsync", 1);
    command.insert(command.end(), {"-p", std::to_string(cluster.master_pid())});
    const Process tracer = Process::start(command, cluster.scratch() + "/strace.log");
    REQUIRE(eventually([&] { return tracer_of(cluster.master_pid()) == tracer.pid(); }));

    std::atomic<int> synced = 0;
    const OnCore there(0);
    std::latch together(kWaiters);
    std::vector<std::thread> waiters;
    for (const int fd : files) {
        waiters.emplace_back([&, fd] {
            together.arrive_and_wait();
            if (::fsync(fd) == 0) ++synced;
            ::close(fd);
        });
    }
    CHECK(eventually([&] { return threads_in(cluster.master_pid(), SYS_fsync) == kWaiters; }));
    for (int i = 0; i < 20; ++i) {
        const std::string file = cluster.mount() + "/file" + std::to_string(i);
        write_to(file, "content");
        CHECK(read_file(file) == "content");
    }
    CHECK(std::distance(std::filesystem::directory_iterator(cluster.mount()), {}) == kWaiters + 20);
    CHECK(synced == 0);

    tracer.signal(SIGTERM);
    for (auto& waiter : waiters) waiter.join();
    CHECK(synced == kWaiters);
    cluster.stop_master();
}

void answers_what_is_under_way(const Words& master_args) {
    Cluster cluster({.slaves = 0, .master_args = master_args});
    Words command = slowing("fsync", 1);
    command.insert(command.end(), {"-p", std::to_string(cluster.master_pid())});
    const int fd = ::open((cluster.mount() + "/file").c_str(), O_WRONLY | O_CREAT, 0644);
    REQUIRE(fd >= 0);
    const Process tracer = Process::start(command, cluster.scratch() + "/strace.log");
    REQUIRE(eventually([&] { return tracer_of(cluster.master_pid()) == tracer.pid(); }));
    std::atomic<int> result = -1;
    std::thread waiter([&] { result = ::fsync(fd); });
    std::this_thread::sleep_for(std::chrono::seconds(1));  // or it proves less, as below
    ::kill(cluster.master_pid(), SIGTERM);
    std::this_thread::sleep_for(std::chrono::seconds(1));
    CHECK(result == -1);
    tracer.signal(SIGTERM);
    waiter.join();
    CHECK(result == 0);
    ::close(fd);
    cluster.forget_master();
}

}  // namespace

TEST_CASE("requests are served while others wait for the disk") {
    if (have_strace()) serves_while_others_wait({"--io-uring", "off"});
}

TEST_CASE("requests are served while others wait for the disk, over io_uring too") {
    if (!have_strace() || !RingsOn::possible()) return;
    const RingsOn on;
    serves_while_others_wait({"--io-uring", "on"});
}

TEST_CASE("what is under way when the master is told to stop is still answered") {
    if (have_strace()) answers_what_is_under_way({"--io-uring", "off"});
}

TEST_CASE("what is under way when the master is told to stop is still answered over io_uring") {
    if (!have_strace() || !RingsOn::possible()) return;
    const RingsOn on;
    answers_what_is_under_way({"--io-uring", "on"});
}

TEST_CASE("a drain covers what was done while something before it was still under way") {
    if (!have_strace()) return;
    Cluster cluster;
    std::filesystem::create_directory(cluster.mount() + "/other");
    cluster.drain();  // times are settled: the drain below has nothing to wait for by itself
    Words command = slowing("mkdirat", 1);
    command.insert(command.end(), {"-p", std::to_string(cluster.master_pid())});
    const Process tracer = Process::start(command, cluster.scratch() + "/strace.log");
    REQUIRE(eventually([&] { return tracer_of(cluster.master_pid()) == tracer.pid(); }));
    const auto before = lsn_of(cluster.master_status().at("tail"));
    std::thread slow([&] { ::mkdir((cluster.mount() + "/slow").c_str(), 0755); });
    std::this_thread::sleep_for(std::chrono::seconds(1));  // or it proves less
    write_to(cluster.mount() + "/other/file", "done");
    CHECK(lsn_of(cluster.master_status().at("tail")) == before);
    bool is_there = false;
    std::thread draining([&] {
        cluster.drain();
        is_there = std::filesystem::exists(cluster.replica() + "/other/file");
    });
    std::this_thread::sleep_for(std::chrono::seconds(1));
    tracer.signal(SIGTERM);
    draining.join();
    CHECK(is_there);
    slow.join();
}

TEST_CASE("a master that is killed before its mount has answered anything ends") {
    if (!have_strace()) return;
    ClusterOptions options;
    options.slaves = 0;
    options.start = false;
    Cluster cluster(options);
    // The first answer begins the session; no further one is given.
    Words command = slowing("writev", 2);
    command.emplace_back("-D");  // beside the master, not above it
    const Words daemon = cluster.master_command();
    command.insert(command.end(), daemon.begin(), daemon.end());
    cluster.launch_master_with(command);
    REQUIRE(eventually([&] { return is_mounted(cluster.mount()); }));
    const pid_t master = cluster.master_pid();
    std::this_thread::sleep_for(std::chrono::seconds(1));  // for what it does next; killed sooner, this proves less
    ::kill(master, SIGKILL);
    const bool ended = eventually([&] { return !cluster.master_runs(); });
    if (!ended) ::umount2(cluster.mount().c_str(), MNT_FORCE);  // or it, and this test, would never
    CHECK(ended);
    cluster.kill_master();
}

// --sync: fsync returns when slaves have it, and what happens when they do not.

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <mutex>
#include <random>
#include <thread>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;

namespace {

std::string sync_state(const Cluster& cluster) { return cluster.master_status().at("sync").at("state"); }
std::uint64_t sync_count(const Cluster& cluster, const char* what) {
    return cluster.master_status().at("sync").at(what);
}

// Writes a new file and calls fsync; 0 or errno.
int put_synced(const std::string& path, const std::string& text) {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0) return errno;
    int error = 0;
    if (write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) error = errno == 0 ? EIO : errno;
    if (error == 0 && fsync(fd) != 0) error = errno;
    close(fd);
    return error;
}

constexpr int kAsyncWrites = 64;
constexpr std::size_t kBlock = 4096;

// As databases do it: many writes of O_DIRECT | O_DSYNC at once, by one thread. 0 or errno.
int write_async(const std::string& path) {
    const int fd = open(path.c_str(), O_WRONLY | O_DIRECT | O_DSYNC);
    if (fd < 0) return errno;
    aio_context_t context = 0;
    if (syscall(SYS_io_setup, kAsyncWrites, &context) != 0) return errno;
    alignas(kBlock) static char data[kBlock];
    std::vector<iocb> writes(kAsyncWrites);
    for (std::size_t i = 0; i < writes.size(); i++) {
        writes[i].aio_lio_opcode = IOCB_CMD_PWRITE;
        writes[i].aio_fildes = static_cast<std::uint32_t>(fd);
        writes[i].aio_buf = reinterpret_cast<std::uint64_t>(data);
        writes[i].aio_nbytes = kBlock;
        writes[i].aio_offset = static_cast<std::int64_t>(i * kBlock);
        iocb* one = &writes[i];
        if (syscall(SYS_io_submit, context, 1, &one) != 1) return errno;
    }
    std::vector<io_event> events(kAsyncWrites);
    if (syscall(SYS_io_getevents, context, kAsyncWrites, kAsyncWrites, events.data(), nullptr) != kAsyncWrites) {
        return errno;
    }
    for (const io_event& event : events) {
        if (event.res != static_cast<std::int64_t>(kBlock)) return event.res < 0 ? static_cast<int>(-event.res) : EIO;
    }
    return 0;
}

// A process of its own that ends with what `body` returns: one that can be killed.
class Writer {
  public:
    explicit Writer(const std::function<int()>& body, bool handles_signals = false) : pid_(fork()) {
        if (pid_ == 0) {
            std::signal(SIGTERM, SIG_DFL);  // the test program handles it
            struct sigaction action {};
            action.sa_handler = handles_signals ? +[](int) {} : SIG_DFL;
            sigaction(SIGUSR1, &action, nullptr);
            _exit(body());
        }
    }
    Writer(const std::string& path, const std::string& text, bool handles_signals = false)
        : Writer([&] { return put_synced(path, text); }, handles_signals) {}
    ~Writer() {
        if (status_ || pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    void signal(int number) const { ::kill(pid_, number); }
    bool ended() {
        int status = 0;
        if (!status_ && waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
        return status_.has_value();
    }
    [[nodiscard]] int status() const { return *status_; }

  private:
    pid_t pid_;
    std::optional<int> status_;
};

std::size_t count_of(const std::string& text, const std::string& what) {
    std::size_t n = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
    return n;
}

// Until the replay has reached the end of what the slave has received.
void wait_replayed(const Cluster& cluster) {
    REQUIRE(eventually([&] {
        const auto status = cluster.slave_status();
        return status.at("applied") == status.at("received");
    }));
}

}  // namespace

TEST_CASE("of each file that was fsynced with --sync 1 the content is on the slave when the master is lost") {
    const std::string level = GENERATE("received", "durable", "applied");
    std::mt19937_64 random(seed_for("the master is lost, " + level));
    for (std::size_t round = 0; round < scaled(4, 1); round++) {
        Cluster cluster({.links = true, .master_args = {"--sync", "1:" + level, "--sync-timeout", "60:block"}});
        std::mutex mutex;
        std::vector<std::pair<std::string, std::string>> synced;
        std::atomic<bool> go_on = true;
        std::vector<std::thread> threads;
        for (int t = 0; t < 8; t++) {
            threads.emplace_back([&, t] {
                for (int i = 0; go_on; i++) {
                    const std::string name = "f" + std::to_string(t) + "." + std::to_string(i);
                    const std::string text = name + std::string(static_cast<std::size_t>(i * 37 % 5000), 'x');
                    if (put_synced(cluster.mount() + "/" + name, text) != 0) return;
                    const std::lock_guard lock(mutex);
                    synced.emplace_back(name, text);
                }
            });
        }
        const std::size_t enough = 50 + random() % 300;
        CHECK(eventually([&] {
            const std::lock_guard lock(mutex);
            return synced.size() >= enough;
        }));
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
        cluster.link().pause();  // what is on the way now is lost with the master
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
        cluster.kill_master();
        cluster.link().cut();
        go_on = false;
        for (std::thread& thread : threads) thread.join();
        while (umount2(cluster.mount().c_str(), MNT_DETACH) == 0) {
        }
        std::filesystem::remove_all(cluster.backing());
        wait_replayed(cluster);
        std::size_t lost = 0;
        for (const auto& [name, text] : synced) {
            if (read_file(cluster.replica() + "/" + name) != text) lost++;
        }
        std::cout << level << ": " << synced.size() << " files fsynced, " << lost << " lost" << std::endl;
        CHECK(lost == 0);
        std::filesystem::create_directory(cluster.backing());
    }
}

TEST_CASE("fsync of a directory and writes on O_SYNC and O_DSYNC descriptors wait for the slave as fsync does") {
    Cluster cluster({.master_args = {"--sync", "1"}});
    const auto asks = [&](const auto& operation) {
        const auto before = sync_count(cluster, "requests");
        operation();
        CHECK(sync_count(cluster, "requests") > before);
        CHECK(sync_count(cluster, "confirmed") > 0);
        CHECK(sync_count(cluster, "waiting") == 0);
    };
    for (const int flag : {O_SYNC, O_DSYNC}) {
        for (const int mode : {O_WRONLY, O_RDWR}) {
            const std::string name = cluster.mount() + "/" + std::to_string(flag) + "." + std::to_string(mode);
            const int fd = open(name.c_str(), mode | flag | O_CREAT, 0644);
            REQUIRE(fd >= 0);
            asks([&] { CHECK(write(fd, "text", 4) == 4); });
            close(fd);
        }
    }
    const int fd = open((cluster.mount() + "/file").c_str(), O_WRONLY | O_CREAT, 0644);
    REQUIRE(write(fd, "text", 4) == 4);
    asks([&] { CHECK(fdatasync(fd) == 0); });
    asks([&] { CHECK(fsync(fd) == 0); });
    close(fd);
    const int directory = open(cluster.mount().c_str(), O_RDONLY | O_DIRECTORY);
    REQUIRE(directory >= 0);
    asks([&] { CHECK(fsync(directory) == 0); });
    close(directory);
    const auto before = sync_count(cluster, "requests");
    const int plain = open((cluster.mount() + "/plain").c_str(), O_WRONLY | O_CREAT, 0644);
    CHECK(write(plain, "text", 4) == 4);
    close(plain);
    CHECK(sync_count(cluster, "requests") == before);
}

TEST_CASE("64 waiting fsyncs share their round trips and hold up nobody") {
    Cluster cluster({.master_args = {"--sync", "1", "--sync-timeout", "600:block"}});
    REQUIRE(mkdir((cluster.mount() + "/d").c_str(), 0755) == 0);
    cluster.drain();
    const auto acks_before = cluster.peer().at("durable_acks").get<std::uint64_t>();
    const auto syncs_before = cluster.slave_status().at("counts").at("spool_syncs").get<std::uint64_t>();
    const auto waves_before = sync_count(cluster, "waves");
    cluster.freeze_slave();
    std::vector<std::thread> threads;
    std::atomic<int> failed = 0;
    for (int t = 0; t < 64; t++) {
        threads.emplace_back([&, t] {
            if (put_synced(cluster.mount() + "/d/" + std::to_string(t), "text") != 0) failed++;
        });
    }
    CHECK(eventually([&] { return sync_count(cluster, "waiting") == 64; }));
    // More than there are workers: each of these would hang if one were held.
    for (int i = 0; i < 100; i++) {
        const std::string name = cluster.mount() + "/other" + std::to_string(i);
        std::ofstream(name) << "text";
        CHECK(read_file(name) == "text");
        CHECK(rename(name.c_str(), (name + "x").c_str()) == 0);
    }
    CHECK(sync_count(cluster, "waiting") == 64);
    cluster.thaw_slave();
    for (std::thread& thread : threads) thread.join();
    CHECK(failed == 0);
    const auto acks = cluster.peer().at("durable_acks").get<std::uint64_t>() - acks_before;
    const auto syncs = cluster.slave_status().at("counts").at("spool_syncs").get<std::uint64_t>() - syncs_before;
    const auto waves = sync_count(cluster, "waves") - waves_before;
    std::cout << "64 fsyncs: " << syncs << " syncs of the spool, " << acks << " durable acks, " << waves << " waves"
              << std::endl;
    CHECK(syncs <= 8);
    CHECK(acks <= 8);
    CHECK(waves <= 8);

    // And while the slave follows.
    const auto requests_before = sync_count(cluster, "requests");
    const auto follow_before = cluster.slave_status().at("counts").at("spool_syncs").get<std::uint64_t>();
    threads.clear();
    for (int t = 0; t < 64; t++) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 20; i++) {
                if (put_synced(cluster.mount() + "/d/" + std::to_string(t) + "." + std::to_string(i), "text") != 0) {
                    failed++;
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(failed == 0);
    const auto follow = cluster.slave_status().at("counts").at("spool_syncs").get<std::uint64_t>() - follow_before;
    const auto requests = sync_count(cluster, "requests") - requests_before;
    std::cout << requests << " fsyncs of 64 threads: " << follow << " syncs of the spool" << std::endl;
    CHECK(requests == 64 * 20);
    CHECK(follow < requests);  // how many share one is up to the scheduler; above it was not
}

TEST_CASE("waiting writes of asynchronous I/O hold up nobody's reads") {
    Cluster cluster({.master_args = {"--sync", "1", "--sync-timeout", "600:block"}});
    const std::string base = cluster.mount() + "/base";
    const std::string other = cluster.mount() + "/other";
    std::ofstream(base) << std::string(kAsyncWrites * kBlock, 'b');
    const std::string text(std::size_t{8} << 20, 'o');
    std::ofstream(other) << text;  // written only: not in the kernel's cache
    cluster.drain();
    cluster.freeze_slave();
    Writer writer([&] { return write_async(base); });
    CHECK(eventually([&] { return sync_count(cluster, "waiting") == kAsyncWrites; }));
    Writer reader([&] { return read_file(other) == text ? 0 : 1; });
    CHECK(eventually([&] { return reader.ended(); }));
    CHECK(!writer.ended());
    cluster.thaw_slave();
    CHECK(eventually([&] { return writer.ended() && reader.ended(); }));
    CHECK(writer.status() == 0);
    CHECK(reader.status() == 0);
}

TEST_CASE("without slaves fsync degrades, says so once, and recovers") {
    Cluster cluster({.master_args = {"--sync", "1", "--sync-timeout", "0.3"}});
    CHECK(put_synced(cluster.mount() + "/1", "text") == 0);
    CHECK(sync_state(cluster) == "confirming");
    cluster.stop_slave();
    for (const char* name : {"/2", "/3", "/4"}) CHECK(put_synced(cluster.mount() + name, "text") == 0);
    CHECK(sync_state(cluster) == "degraded");
    CHECK(sync_count(cluster, "unconfirmed") == 3);
    CHECK(sync_count(cluster, "times_late") == 1);
    CHECK(cluster.ctl({"status"}).out.find("degraded") != std::string::npos);
    cluster.start_slave();
    CHECK(eventually([&] { return sync_state(cluster) == "confirming"; }));
    CHECK(put_synced(cluster.mount() + "/5", "text") == 0);
    CHECK(sync_count(cluster, "unconfirmed") == 3);
    CHECK(count_of(cluster.master_log(), "sync degraded") == 1);
    CHECK(count_of(cluster.master_log(), "sync restored") == 1);
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("an application that is killed while its fsync is blocked ends, one that handles a signal waits on") {
    Cluster cluster({.master_args = {"--sync", "1", "--sync-timeout", "0.2:block"}});
    cluster.freeze_slave();
    Writer killed(cluster.mount() + "/killed", "text");
    Writer terminated(cluster.mount() + "/terminated", "text");
    Writer handler(cluster.mount() + "/handler", "text", true);
    Writer both(cluster.mount() + "/both", "text", true);
    REQUIRE(eventually([&] { return sync_count(cluster, "waiting") == 4; }));
    REQUIRE(eventually([&] { return sync_state(cluster) == "blocked"; }));
    handler.signal(SIGUSR1);
    both.signal(SIGUSR1);
    killed.signal(SIGKILL);
    terminated.signal(SIGTERM);
    CHECK(eventually([&] { return killed.ended() && terminated.ended(); }));
    CHECK(WIFSIGNALED(killed.status()));
    CHECK(WIFSIGNALED(terminated.status()));
    CHECK(sync_count(cluster, "given_up") == 2);
    CHECK(!handler.ended());
    CHECK(!both.ended());
    both.signal(SIGKILL);  // the kernel tells of the first signal only
    CHECK(eventually([&] { return both.ended(); }));
    CHECK(sync_count(cluster, "given_up") == 3);
    CHECK(count_of(cluster.master_log(), "sync blocked") == 1);
    cluster.thaw_slave();
    CHECK(eventually([&] { return handler.ended(); }));
    CHECK(handler.status() == 0);
    CHECK(eventually([&] { return sync_state(cluster) == "confirming"; }));
    CHECK(count_of(cluster.master_log(), "sync restored") == 1);
}

TEST_CASE("a master that is stopped while fsyncs are blocked ends in order and does not call them done") {
    Cluster cluster({.master_args = {"--sync", "1", "--sync-timeout", "600:block"}});
    cluster.freeze_slave();
    Writer writer(cluster.mount() + "/file", "text");
    REQUIRE(eventually([&] { return sync_count(cluster, "waiting") == 1; }));
    kill(cluster.master_pid(), SIGTERM);
    cluster.forget_master();
    CHECK(eventually([&] { return writer.ended(); }));
    CHECK(WIFEXITED(writer.status()));
    CHECK(WEXITSTATUS(writer.status()) == EIO);
    cluster.thaw_slave();
}

TEST_CASE("a master that is killed while fsyncs are blocked leaves errors, and its programs go on") {
    Cluster cluster({.master_args = {"--sync", "1", "--sync-timeout", "600:block"}});
    cluster.freeze_slave();
    std::vector<std::unique_ptr<Writer>> writers;
    for (int i = 0; i < 40; i++) {
        writers.push_back(std::make_unique<Writer>(cluster.mount() + "/" + std::to_string(i), "text"));
    }
    REQUIRE(eventually([&] { return sync_count(cluster, "waiting") == writers.size(); }));
    cluster.kill_master();
    for (const auto& writer : writers) {
        CHECK(eventually([&] { return writer->ended(); }));
        CHECK(WIFEXITED(writer->status()));
        CHECK(WEXITSTATUS(writer->status()) != 0);
    }
    cluster.thaw_slave();
    cluster.start_master();
    CHECK(put_synced(cluster.mount() + "/after", "text") == 0);
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("a slave that has received and does not apply is enough for durable and not for applied") {
    const bool applied = GENERATE(false, true);
    Cluster cluster({.master_args = {"--sync", applied ? "1:applied" : "1:durable", "--sync-timeout", "600:block"}});
    REQUIRE(slave_ctl(cluster, "pause").status == 0);
    Writer writer(cluster.mount() + "/file", "text");
    if (applied) {
        REQUIRE(eventually([&] { return sync_count(cluster, "waiting") == 1; }));
        const auto tail = cluster.master_status().at("tail").get<std::uint64_t>();
        REQUIRE(eventually([&] { return cluster.peer().at("durable").get<std::uint64_t>() >= tail; }));
        CHECK(!writer.ended());
    } else {
        REQUIRE(eventually([&] { return writer.ended(); }));
    }
    CHECK(access((cluster.replica() + "/file").c_str(), F_OK) != 0);
    REQUIRE(slave_ctl(cluster, "resume").status == 0);
    CHECK(eventually([&] { return writer.ended(); }));
    CHECK(writer.status() == 0);
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("an fsync that is to be seen in the replica waits until a foreign change before it is repaired") {
    Cluster cluster({.master_args = {"--sync", "1:applied", "--sync-timeout", "600:block"}});
    REQUIRE(mkdir((cluster.replica() + "/file").c_str(), 0755) == 0);
    REQUIRE(put_synced(cluster.mount() + "/file", "text") == 0);
    CHECK(read_file(cluster.replica() + "/file") == "text");
}

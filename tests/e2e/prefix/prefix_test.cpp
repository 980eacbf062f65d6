// What is seen on a replica is always the result of the first n changes, whoever made them and whenever one looks.

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <random>
#include <thread>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/e2e/prefix/registers.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;

namespace {

// Processes that make the changes 1..count. With more than one each makes every processes-th, as soon as it has seen,
// through the tree, that the one before is made.
class Writers {
  public:
    Writers(const std::string& root, unsigned processes, std::uint64_t count) : count_(count) {
        void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(memory != MAP_FAILED);
        shared_ = new (memory) Shared;
        for (unsigned i = 0; i < processes; i++) {
            const pid_t pid = fork();
            if (pid == 0) {
                alarm(static_cast<unsigned>(patience().count()) * 2);
                _exit(write(Registers(root), i, processes) ? 0 : 1);
            }
            pids_.push_back(pid);
        }
    }

    ~Writers() {
        stop();
        munmap(shared_, sizeof(Shared));
    }

    // The last change that somebody has begun.
    [[nodiscard]] std::uint64_t begun() const { return shared_->begun; }
    [[nodiscard]] bool busy() const { return begun() < count_ && shared_->error == 0; }

    // "" or why the changes were not all made.
    std::string finish() {
        bool good = true;
        for (const pid_t pid : pids_) {
            int status = 0;
            good = waitpid(pid, &status, 0) == pid && status == 0 && good;
        }
        pids_.clear();
        return good ? "" : "change " + std::to_string(shared_->begun) + ": " + std::strerror(shared_->error);
    }

  private:
    struct Shared {
        std::atomic<std::uint64_t> begun = 0;
        std::atomic<int> error = 0;
    };

    bool write(const Registers& registers, unsigned me, unsigned processes) {
        for (std::uint64_t n = 1; n <= count_; n++) {
            if (n % processes != me) {
                continue;
            }
            while (processes > 1 && n > 1 && !sees(registers, n - 1)) {
                if (shared_->error != 0) {
                    return false;
                }
            }
            shared_->begun = n;
            if (!registers.change(n)) {
                shared_->error = errno;
                return false;
            }
        }
        return true;
    }

    static bool sees(const Registers& registers, std::uint64_t n) {
        const std::uint64_t i = n % Registers::kRegisters;
        return Registers::fits(i, registers.read(i), n);
    }

    void stop() {
        for (const pid_t pid : pids_) {
            kill(pid, SIGKILL);
            waitpid(pid, nullptr, 0);
        }
    }

    const std::uint64_t count_;
    Shared* shared_ = nullptr;
    std::vector<pid_t> pids_;
};

// Looks at a replica all the time, in a thread of its own, until it is told to stop or sees something wrong.
class Observer {
  public:
    Observer(const std::string& root, const Writers& writers)
        : watcher_(root), writers_(writers), thread_([this] { watch(); }) {}
    ~Observer() { stop(); }
    Observer(const Observer&) = delete;
    Observer& operator=(const Observer&) = delete;

    void stop() {
        stop_ = true;
        if (thread_.joinable()) {
            thread_.join();
        }
    }
    // After stop().
    [[nodiscard]] const std::string& wrong() const { return wrong_; }
    [[nodiscard]] std::uint64_t looks() const { return looks_; }
    [[nodiscard]] std::uint64_t seen() const { return watcher_.seen(); }

  private:
    void watch() {
        while (!stop_ && wrong_.empty()) {
            wrong_ = watcher_.look();
            if (wrong_.empty() && watcher_.seen() > writers_.begun()) {
                wrong_ = "change " + std::to_string(watcher_.seen()) + " is seen but not begun";
            }
            looks_++;
        }
    }

    Watcher watcher_;
    const Writers& writers_;
    std::atomic<bool> stop_ = false;
    std::string wrong_;
    std::uint64_t looks_ = 0;
    std::thread thread_;
};

enum class Rest { kFrozen, kKilled };

// The slaves are brought to rest and examined again and again while the writers work.
void watch_writers(Cluster& cluster, unsigned processes, std::uint64_t count, Rest rest) {
    REQUIRE(Registers(cluster.mount() + "/registers").set_up());
    cluster.drain();
    std::mt19937_64 random(seed_for("prefix"));
    Writers writers(cluster.mount() + "/registers", processes, count);
    std::vector<std::unique_ptr<Observer>> observers;
    std::vector<Watcher> at_rest;
    for (std::size_t i = 0; i < cluster.slaves(); i++) {
        observers.push_back(std::make_unique<Observer>(cluster.replica(i) + "/registers", writers));
        at_rest.emplace_back(cluster.replica(i) + "/registers");
    }
    std::size_t examined = 0, behind = 0;
    while (writers.busy()) {
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 30'000));
        const std::size_t i = random() % cluster.slaves();
        if (rest == Rest::kFrozen) {
            cluster.freeze_slave(i);
        } else {
            cluster.kill_slave(i);
        }
        CHECK(at_rest[i].look_at_rest() == "");
        CHECK(at_rest[i].seen() <= writers.begun());
        behind += at_rest[i].seen() < writers.begun();
        examined++;
        if (rest == Rest::kFrozen) {
            cluster.thaw_slave(i);
        } else {
            cluster.start_slave(i);
        }
    }
    CHECK(writers.finish() == "");
    cluster.drain();
    for (std::size_t i = 0; i < cluster.slaves(); i++) {
        observers[i]->stop();
        CHECK(observers[i]->wrong() == "");
        CHECK(at_rest[i].look_at_rest() == "");
        CHECK(at_rest[i].seen() == count);
        std::cout << "slave" << i << ": " << observers[i]->looks() << " looks" << std::endl;
    }
    std::cout << examined << " times at rest, " << behind << " of them in the middle" << std::endl;
    CHECK(cluster.differences() == "");
    for (std::size_t i = 0; i < cluster.slaves(); i++) {
        CHECK(cluster.peer(i).at("resyncs") <= 1);  // the first sync at most
    }
}

}  // namespace

// The judge notices what it is there to notice.
TEST_CASE("a change that is seen without one before it is found out") {
    const Scratch scratch;
    const std::string root = scratch.path() + "/registers";
    const Registers registers(root);
    REQUIRE(registers.set_up());
    Watcher watcher(root);
    std::uint64_t n = 0;
    for (; n < 3 * Registers::kRegisters; n++) {
        REQUIRE(watcher.look_at_rest() == "");
        REQUIRE(watcher.seen() == n);
        REQUIRE(registers.change(n + 1));
    }
    // Each change left out once, with some made after it.
    for (std::uint64_t left_out = n + 1; left_out < n + 1 + Registers::kRegisters; left_out++) {
        const Scratch other;
        const std::string at = other.path() + "/registers";
        const Registers wrong(at);
        REQUIRE(wrong.set_up());
        for (std::uint64_t k = 1; k <= left_out + Registers::kRegisters / 2; k++) {
            REQUIRE((k == left_out || wrong.change(k)));
        }
        INFO("left out " << left_out);
        CHECK(Watcher(at).look_at_rest() != "");
    }
}

TEST_CASE("a replica shows a prefix of what one process does") {
    Cluster cluster;
    watch_writers(cluster, 1, scaled(15'000, 2000), Rest::kFrozen);
}

TEST_CASE("three compressed replicas show a prefix of what one process does") {
    Cluster cluster({.slaves = 3, .compress = true});
    watch_writers(cluster, 1, scaled(8'000, 1000), Rest::kFrozen);
}

TEST_CASE("a replica shows a prefix of what three processes do in turn") {
    Cluster cluster;
    watch_writers(cluster, 3, scaled(6'000, 600), Rest::kFrozen);
}

TEST_CASE("a replica whose slave is killed again and again shows a prefix") {
    Cluster cluster;
    watch_writers(cluster, 2, scaled(10'000, 1000), Rest::kKilled);
}

#include "master/crew.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <functional>

#include "common/os/fd.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs;
using namespace std::chrono_literals;

namespace {

constexpr auto kNoLook = std::chrono::milliseconds(1h);

void await(const std::function<bool()>& holds) {
    for (int i = 0; i < 60'000 && !holds(); ++i) std::this_thread::sleep_for(1ms);
    REQUIRE(holds());
}

// Requests are functions; a hand waits for them as for those of the kernel, in a read() that a signal interrupts.
class Desk {
  public:
    Desk() : count_(::eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC)) {}

    void ask(std::function<void()> request) {
        {
            const std::lock_guard lock(mutex_);
            requests_.push_back(std::move(request));
        }
        const std::uint64_t one = 1;
        REQUIRE(::write(count_.get(), &one, sizeof one) == sizeof one);
    }
    // One more that nobody serves: none come any more. Each member needs one, as each read of an unmounted session fails.
    void end() { ask({}); }

    class DeskHand : public Hand {
      public:
        explicit DeskHand(Desk& desk) : desk_(desk) {}
        Taken take() override {
            ++desk_.taking;
            std::uint64_t one = 0;
            const bool got = ::read(desk_.count_.get(), &one, sizeof one) == sizeof one;
            --desk_.taking;
            if (!got) return Taken::kInterrupted;
            const std::lock_guard lock(desk_.mutex_);
            request_ = std::move(desk_.requests_.front());
            desk_.requests_.pop_front();
            return request_ ? Taken::kRequest : Taken::kEnd;
        }
        void serve() override { request_(); }
        void rest() override { ++desk_.rests; }
        void leave() override { ++desk_.left; }
        [[nodiscard]] bool parks() const override { return desk_.parks; }

      private:
        Desk& desk_;
        std::function<void()> request_;
    };

    std::atomic<int> taking{0};  // hands that wait for a request
    std::atomic<int> rests{0};
    std::atomic<int> ends{0};  // times that the end was said
    std::atomic<int> left{0};
    std::atomic<bool> parks{true};
    std::atomic<bool> hands{true};  // there are some to be had

  private:
    const OwnFd count_;
    std::mutex mutex_;
    std::deque<std::function<void()>> requests_;
};

// What requests wait for, until the test opens it.
class Gate {
  public:
    ~Gate() { open(); }
    void pass() {
        std::unique_lock lock(mutex_);
        ++arrived;
        opened_.wait(lock, [this] { return open_; });
        ++left;
    }
    void open() {
        const std::lock_guard lock(mutex_);
        open_ = true;
        opened_.notify_all();
    }
    std::atomic<int> arrived{0}, left{0};

  private:
    std::mutex mutex_;
    std::condition_variable opened_;
    bool open_ = false;
};

struct Staffed {
    Desk desk;
    Gate gate;
    std::atomic<std::uint64_t> seen{0};           // requests that the watcher told of
    std::atomic<std::uint64_t> looks_without{0};  // in a row
    Crew crew;

    explicit Staffed(unsigned most = 64, std::chrono::milliseconds look = 1ms)
        : crew(
              {2, most, look}, [this] { return desk.hands ? std::make_unique<Desk::DeskHand>(desk) : nullptr; },
              [this] { ++desk.ends; },
              [this](std::uint64_t requests) {
                  seen += requests;
                  looks_without = requests == 0 ? looks_without + 1 : 0;
              }) {
        crew.start();
    }
    ~Staffed() {
        gate.open();
        crew.stop();
    }
    bool is_served() {
        const auto done = std::make_shared<std::atomic<bool>>(false);
        desk.ask([done] { *done = true; });
        for (int i = 0; i < 60'000 && !*done; ++i) std::this_thread::sleep_for(1ms);
        return *done;
    }
};

}  // namespace

TEST_CASE("whoever asks is served, however many requests wait for something") {
    Staffed s;
    for (int i = 0; i < 40; ++i) s.desk.ask([&] { s.gate.pass(); });
    CHECK(s.is_served());
    CHECK(s.gate.left == 0);
    await([&] { return s.gate.arrived == 40; });
}

TEST_CASE("a request that says it will wait is replaced without being looked for") {
    Staffed s(64, kNoLook);
    for (int i = 0; i < 10; ++i) {
        s.desk.ask([&] {
            about_to_wait();
            s.gate.pass();
        });
    }
    CHECK(s.is_served());
    CHECK(s.gate.left == 0);
}

TEST_CASE("a crew that had nothing to do for long still notices requests that wait") {
    Staffed s;
    std::this_thread::sleep_for(200ms);  // so that the watcher sleeps; where it does not yet, this proves less
    for (int i = 0; i < 3; ++i) s.desk.ask([&] { s.gate.pass(); });
    CHECK(s.is_served());
    CHECK(s.gate.left == 0);
}

TEST_CASE("the watcher tells how many requests there were, and of some looks without any before it sleeps") {
    Staffed s;
    for (std::uint64_t round = 1; round <= 3; ++round) {
        for (int i = 0; i < 100; ++i) CHECK(s.is_served());
        await([&] { return s.seen == 100 * round && s.looks_without >= 10; });
        std::this_thread::sleep_for(100ms);  // so that the watcher sleeps; where it does not yet, this proves less
    }
}

TEST_CASE("threads that took the place of others are not hot for longer than that") {
    Staffed s;
    for (int round = 0; round < 3; ++round) {
        Gate gate;
        for (int i = 0; i < 20; ++i) s.desk.ask([&] { gate.pass(); });
        await([&] { return gate.arrived == 20; });
        gate.open();
        await([&] { return gate.left == 20; });
        // Each parks after a request that it was not needed for.
        await([&] { return s.is_served() && s.desk.taking <= 2; });
    }
    CHECK(s.desk.rests > 0);
    CHECK(s.crew.size() <= 64);
}

TEST_CASE("no more threads are made than the limit says, and all is served in the end") {
    Staffed s(5);
    std::atomic<int> served = 0;
    for (int i = 0; i < 9; ++i) s.desk.ask([&] { s.gate.pass(); });
    s.desk.ask([&] { ++served; });
    await([&] { return s.gate.arrived == 5; });
    CHECK(s.crew.size() == 5);
    s.gate.open();
    await([&] { return s.gate.left == 9 && served == 1; });
}

TEST_CASE("threads that do not park go on taking, and no others are called while enough of them do") {
    Staffed s(64, kNoLook);
    s.desk.parks = false;
    const auto wait = [&] {
        about_to_wait();
        s.gate.pass();
    };
    for (int i = 0; i < 6; ++i) s.desk.ask(wait);
    await([&] { return s.gate.arrived == 6; });
    s.gate.open();
    await([&] { return s.gate.left == 6 && s.desk.taking == 8; });
    CHECK(s.crew.size() == 8);
    CHECK(s.desk.rests == 0);
    for (int i = 0; i < 6; ++i) s.desk.ask(wait);
    await([&] { return s.gate.left == 12 && s.desk.taking == 8; });
    CHECK(s.crew.size() == 8);
    s.crew.stop();
    CHECK(s.desk.left == 8);
}

TEST_CASE("where no further hand is to be had requests wait for those there are") {
    Staffed s;
    s.desk.hands = false;
    s.desk.ask([&] { s.gate.pass(); });
    s.desk.ask([&] { s.gate.pass(); });
    await([&] { return s.gate.arrived == 2; });
    std::atomic<bool> served = false;
    s.desk.ask([&] { served = true; });
    s.gate.open();
    await([&] { return served.load(); });
    CHECK(s.crew.size() == 2);
}

TEST_CASE("a crew stops with threads that take, are parked, and were never needed") {
    for (int i = 0; i < 20; ++i) {
        Staffed s;
        for (int j = 0; j < i % 4; ++j) s.desk.ask([&] { s.gate.pass(); });
        if (i % 2 == 0) CHECK(s.is_served());
        s.gate.open();
        s.crew.stop();
        CHECK(s.gate.arrived == s.gate.left);
    }
}

TEST_CASE("the end of requests is said once") {
    Staffed s;
    s.desk.end();
    s.desk.end();
    await([&] { return s.desk.ends == 1 && s.desk.taking == 0; });
    s.crew.stop();
    CHECK(s.desk.ends == 1);
}

TEST_CASE("saying that one waits costs nothing in a thread of no crew") { about_to_wait(); }

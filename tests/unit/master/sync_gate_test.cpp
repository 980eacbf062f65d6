#include "master/sync_gate.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

#include "tests/support/catch.hpp"

using namespace tdfs;
using namespace std::chrono_literals;

namespace {

constexpr auto kNever = std::chrono::hours(1);
constexpr pid_t kDying = 2;
constexpr pid_t kAlive = 3;
bool dies(pid_t who) { return who == kDying; }

void wait_until(const std::function<bool()>& holds) {
    for (int i = 0; i < 60'000 && !holds(); ++i) std::this_thread::sleep_for(1ms);
    REQUIRE(holds());
}

// A gate whose slaves are where the test says.
struct Gated {
    std::atomic<std::uint64_t> confirmed{0};
    SyncGate gate;
    std::atomic<int> answers{0};
    std::atomic<int> last{-1};

    explicit Gated(std::chrono::milliseconds timeout, SyncPolicy::Late late = SyncPolicy::Late::kDegrade)
        : gate({1, Publisher::Level::kDurable, timeout, late}, dies) {
        gate.start([this] { return Lsn(confirmed); });
    }
    SyncGate::Ticket open(pid_t who = kAlive) {
        return gate.open(who, [this](Errno how) {
            last = how.value();
            ++answers;
        });
    }
    SyncGate::Ticket ask(std::uint64_t upto, pid_t who = kAlive) {
        const auto ticket = open(who);
        gate.park(ticket, Lsn(upto));
        return ticket;
    }
    void confirm(std::uint64_t upto) {
        confirmed = upto;
        gate.moved();
    }
};

}  // namespace

TEST_CASE("a request is answered when everything before it is confirmed, and no sooner") {
    Gated w(kNever);
    w.ask(100);
    w.ask(200);
    w.confirm(99);
    CHECK(w.answers == 0);
    CHECK(w.gate.status().waiting == 2);
    w.confirm(100);
    CHECK(w.answers == 1);
    CHECK(w.last == 0);
    w.confirm(500);
    CHECK(w.answers == 2);
    w.ask(400);  // confirmed already
    CHECK(w.answers == 3);
    CHECK(w.gate.status().state == "confirming");
    CHECK(w.gate.status().waiting == 0);
}

TEST_CASE("requests that are confirmed together are one wave") {
    Gated w(kNever);
    for (std::uint64_t i = 1; i <= 64; ++i) w.ask(i);
    w.confirm(64);
    CHECK(w.answers == 64);
    CHECK(w.gate.status().waves == 1);
    CHECK(w.gate.status().requests == 64);
}

TEST_CASE("a request that is late degrades the gate until slaves follow again") {
    Gated w(20ms);
    w.ask(100);
    wait_until([&] { return w.answers == 1; });
    CHECK(w.last == 0);
    CHECK(w.gate.status().state == "degraded");
    CHECK(w.gate.status().unconfirmed == 1);
    w.ask(200);  // nobody waits now
    CHECK(w.answers == 2);
    CHECK(w.gate.status().unconfirmed == 2);
    w.confirm(200);
    CHECK(w.gate.status().state == "confirming");
    CHECK(w.gate.status().times_late == 1);
    CHECK(w.gate.status().unconfirmed == 2);
}

TEST_CASE("slaves that follow closely end the degradation though they are never quite there") {
    Gated w(200ms);
    w.ask(100);
    wait_until([&] { return w.gate.status().state == "degraded"; });
    std::this_thread::sleep_for(300ms);  // the first look back takes too long to count
    w.ask(200);
    w.confirm(150);  // far behind what was wanted then: a new look begins, at 200
    CHECK(w.gate.status().state == "degraded");
    std::uint64_t asked = 200;
    wait_until([&] {  // each time as far behind: one of them is quick enough
        w.ask(asked += 100);
        w.confirm(asked - 50);
        return w.gate.status().state == "confirming";
    });
}

TEST_CASE("a gate that blocks says so and keeps its requests") {
    Gated w(10ms, SyncPolicy::Late::kBlock);
    w.ask(100);
    wait_until([&] { return w.gate.status().state == "blocked"; });
    w.ask(110);
    CHECK(w.answers == 0);
    w.confirm(110);
    CHECK(w.answers == 2);
    CHECK(w.last == 0);
    CHECK(w.gate.status().state == "confirming");
    CHECK(w.gate.status().unconfirmed == 0);
}

TEST_CASE("an interrupt ends a request only when its application dies of it") {
    Gated w(kNever);
    const auto alive = w.ask(100, kAlive);
    const auto dying = w.ask(100, kDying);
    w.gate.interrupt(alive);
    w.gate.interrupt(dying);
    wait_until([&] { return w.answers == 1; });
    CHECK(w.last == EINTR);
    CHECK(w.gate.status().given_up == 1);
    CHECK(w.gate.status().waiting == 1);
    w.gate.interrupt(dying);  // answered and gone: nothing happens
    w.confirm(100);
    CHECK(w.answers == 2);
    CHECK(w.last == 0);
}

TEST_CASE("an interrupt that comes before the request is parked is not lost") {
    Gated w(kNever);
    const auto ticket = w.open(kDying);
    w.gate.interrupt(ticket);
    CHECK(w.answers == 0);
    w.gate.park(ticket, Lsn(100));
    wait_until([&] { return w.answers == 1; });
    CHECK(w.last == EINTR);
}

TEST_CASE("what waits when the gate is stopped is not taken for confirmed") {
    Gated w(kNever);
    w.ask(100);
    const auto early = w.open();
    w.gate.stop();
    CHECK(w.answers == 1);
    CHECK(w.last == EIO);
    w.last = -1;
    w.gate.park(early, Lsn(50));
    CHECK(w.answers == 2);
    CHECK(w.last == EIO);
}

TEST_CASE("a gate that was stopped gives no answer any more, also none that a slave's thread has begun to give") {
    Gated w(kNever);
    std::atomic<bool> begun = false, done = false;
    w.gate.park(w.gate.open(kAlive,
                            [&](Errno) {
                                begun = true;
                                std::this_thread::sleep_for(100ms);
                                done = true;
                            }),
                Lsn(100));
    std::thread session([&] { w.confirm(100); });
    while (!begun) std::this_thread::yield();
    w.gate.stop();
    CHECK(done);
    session.join();
}

TEST_CASE("a process that is gone or cannot be seen is dying, one that handles its signal is not") {
    // Signals stay pending while the child is stopped.
    const auto child = [](bool handles) {
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::signal(SIGUSR1, handles ? +[](int) {} : SIG_DFL);
            ::raise(SIGSTOP);
            ::_exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(pid, &status, WUNTRACED) == pid);
        return pid;
    };
    const pid_t handler = child(true);
    ::kill(handler, SIGUSR1);
    CHECK_FALSE(is_dying(handler));
    ::kill(handler, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(handler, &status, 0) == handler);
    CHECK(is_dying(handler));  // gone
    CHECK(is_dying(0));
    CHECK_FALSE(is_dying(::getpid()));
}

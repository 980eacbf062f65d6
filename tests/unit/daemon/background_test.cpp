// Going to the background: the parent's exit status is the truth about the start.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <functional>
#include <string>

#include "common/daemon/daemon.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs;

namespace {

struct Outcome {
    int status = -1;     // of the parent, as a shell sees it
    std::string errors;  // what stderr got until daemon and parent had both closed it
};

std::string read_all(int fd) {
    std::string text;
    std::array<char, 256> part{};
    for (ssize_t n = 0; (n = ::read(fd, part.data(), part.size())) > 0;)
        text.append(part.data(), static_cast<std::size_t>(n));
    return text;
}

// Runs `daemon` as a program would that was started by a shell. It returns its exit status.
Outcome start(bool foreground, const std::function<int(Background&)>& daemon) {
    std::array<int, 2> errors{};
    REQUIRE(::pipe2(errors.data(), O_CLOEXEC) == 0);
    const pid_t shell_child = ::fork();
    REQUIRE(shell_child >= 0);
    if (shell_child == 0) {
        ::dup2(errors[1], STDERR_FILENO);
        ::close(errors[1]);
        int status = 0;
        {
            Background background(foreground);
            status = daemon(background);
        }
        ::_exit(status);
    }
    ::close(errors[1]);
    Outcome outcome;
    int status = 0;
    REQUIRE(::waitpid(shell_child, &status, 0) == shell_child);
    REQUIRE(WIFEXITED(status));
    outcome.status = WEXITSTATUS(status);
    outcome.errors = read_all(errors[0]);
    ::close(errors[0]);
    return outcome;
}

void say(const std::string& text) { [[maybe_unused]] const auto n = ::write(STDERR_FILENO, text.data(), text.size()); }

}  // namespace

TEST_CASE("the parent ends with 0 when the daemon is ready, which works on without a terminal") {
    std::array<int, 2> to_daemon{};
    std::array<int, 2> from_daemon{};
    REQUIRE(::pipe2(to_daemon.data(), O_CLOEXEC) == 0);
    REQUIRE(::pipe2(from_daemon.data(), O_CLOEXEC) == 0);
    const auto outcome = start(false, [&](Background& background) {
        ::close(to_daemon[1]);
        background.ready();
        say("nobody sees this\n");
        char byte = 0;
        if (::read(to_daemon[0], &byte, 1) != 1) return 1;  // after the parent has ended
        std::array<char, 2> answer{'o', ::getsid(0) == ::getpid() ? 's' : '-'};
        return ::write(from_daemon[1], answer.data(), answer.size()) == 2 ? 0 : 1;
    });
    ::close(from_daemon[1]);
    CHECK(outcome.status == 0);
    CHECK(outcome.errors.empty());
    CHECK(::write(to_daemon[1], "x", 1) == 1);
    CHECK(read_all(from_daemon[0]) == "os");
    for (const int fd : {to_daemon[0], to_daemon[1], from_daemon[0]}) ::close(fd);
}

TEST_CASE("a daemon that fails before it is ready gives its line and its status to the shell") {
    const auto outcome = start(false, [](Background&) {
        say("no such directory\n");
        return 7;
    });
    CHECK(outcome.status == 7);
    CHECK(outcome.errors == "no such directory\n");
}

TEST_CASE("a daemon that ends well without ever being ready has failed") {
    CHECK(start(false, [](Background&) { return 0; }).status == 1);
}

TEST_CASE("a daemon that is killed while it starts has failed") {
    const auto outcome = start(false, [](Background&) {
        std::raise(SIGKILL);
        return 0;
    });
    CHECK(outcome.status == 1);
    CHECK(outcome.errors == "the daemon was ended by signal 9 while it started\n");
}

TEST_CASE("in front there is one process, which keeps its terminal") {
    const auto outcome = start(true, [](Background& background) {
        background.ready();
        say("still here\n");
        return 3;
    });
    CHECK(outcome.status == 3);
    CHECK(outcome.errors == "still here\n");
}

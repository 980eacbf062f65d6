#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "common/daemon/daemon.hpp"
#include "common/os/retry.hpp"
#include "proto/errno.hpp"

namespace tdfs {

namespace {

[[noreturn]] void end_with(const char* what) {
    std::fprintf(stderr, "cannot go to the background: %s: %s\n", what, Errno::last().text().c_str());
    ::_exit(1);
}

// The parent's part: ends with 0 once the child is ready, else as the child ended.
[[noreturn]] void follow(pid_t child, int from_child) {
    char byte = 0;
    const auto got = retry_interrupted([&] { return ::read(from_child, &byte, 1); });
    if (got == 1) ::_exit(0);

    int status = 0;
    if (retry_interrupted([&] { return ::waitpid(child, &status, 0); }) != child) end_with("waitpid");
    if (WIFEXITED(status)) ::_exit(WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1);  // it ended without being ready
    std::fprintf(stderr, "the daemon was ended by signal %d while it started\n", WTERMSIG(status));
    ::_exit(1);
}

}  // namespace

Background::Background(bool foreground) : foreground_(foreground) {
    if (foreground) return;
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) end_with("pipe");
    OwnFd from_child(ends[0]);
    to_parent_ = OwnFd(ends[1]);

    std::fflush(nullptr);  // or what is buffered would be written twice
    const pid_t child = ::fork();
    if (child < 0) end_with("fork");
    if (child > 0) {
        to_parent_.reset();
        follow(child, from_child.get());
    }
}

Background::~Background() = default;  // not ready by now: the parent sees the pipe's end and waits for our status

void Background::ready() {
    if (foreground_) return;
    // Only now, so that Ctrl-C reaches a daemon that is still starting. A child of fork leads no group: setsid works.
    ::setsid();
    if (::chdir("/") != 0) end_with("chdir /");
    const OwnFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null) end_with("/dev/null");
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::dup2(null.get(), fd) < 0) end_with("dup2");
    }
    const char byte = 1;
    // A parent that was killed meanwhile has nobody to tell: the daemon works all the same.
    [[maybe_unused]] const auto told = retry_interrupted([&] { return ::write(to_parent_.get(), &byte, 1); });
    to_parent_.reset();
}

}  // namespace tdfs

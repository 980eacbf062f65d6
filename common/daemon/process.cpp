#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <array>
#include <charconv>
#include <csignal>

#include "common/daemon/daemon.hpp"
#include "common/os/file.hpp"
#include "common/os/retry.hpp"

namespace tdfs {

namespace {

sigset_t ending_signals() {
    sigset_t set{};
    ::sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
    return set;
}

}  // namespace

void block_signals() {
    const auto set = ending_signals();
    TDFS_INVARIANT(::pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0, "signals can be blocked");
    std::signal(SIGPIPE, SIG_IGN);
}

bool wait_for_signal_or(int fd) {
    const auto set = ending_signals();
    const OwnFd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    TDFS_INVARIANT(static_cast<bool>(signals), "a signalfd can be had");
    std::array<pollfd, 2> watched{{{signals.get(), POLLIN, 0}, {fd, POLLIN, 0}}};
    for (;;) {
        const int ready = retry_interrupted([&] { return ::poll(watched.data(), watched.size(), -1); });
        TDFS_INVARIANT(ready > 0, "poll without a limit finds something");
        signalfd_siginfo got{};
        while (::read(signals.get(), &got, sizeof got) == static_cast<ssize_t>(sizeof got)) {
            if (got.ssi_signo != SIGHUP) return true;
            reopen_log();
        }
        if (watched[1].revents != 0) return false;
    }
}

std::size_t raise_open_file_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    const auto before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : before;
}

std::uint64_t anonymous_memory_bytes() {
    constexpr std::size_t kLimitBytes = 64 * 1024;
    constexpr std::string_view kField = "\nRssAnon:";
    const auto status = read_file(AT_FDCWD, "/proc/self/status", kLimitBytes);
    if (!status) return 0;
    const auto text = as_text(*status);
    const auto at = text.find(kField);
    if (at == std::string_view::npos) return 0;
    const auto number = text.find_first_of("0123456789", at + kField.size());
    if (number == std::string_view::npos) return 0;
    std::uint64_t kib = 0;
    std::from_chars(text.data() + number, text.data() + text.size(), kib);
    return kib * 1024;
}

}  // namespace tdfs

#include "common/control/client.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <climits>

#include <nlohmann/json.hpp>

#include "common/control/control.hpp"
#include "common/control/lines.hpp"
#include "common/daemon/guards.hpp"
#include "common/os/file.hpp"
#include "common/os/retry.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

using nlohmann::json;

Unexpected<ControlError> no_daemon(const std::string& text) {
    return Unexpected<ControlError>(ControlError{ControlExit::kNoDaemon, text});
}

// A directory that a person named: a symlink to it is fine.
SysResult<OwnFd> open_named(const std::string& path) {
    OwnFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return fail_last();
    return fd;
}

SysResult<OwnFd> connect_in(const std::string& directory, const std::string& name) {
    const auto dir = open_named(directory);
    if (!dir) return fail(dir.error());
    return connect_to(dir->get(), name);
}

SysResult<OwnFd> connect_in_run_directory(const std::string& dir) {
    const auto canonical = canonical_path(dir);
    if (!canonical) return fail(ENOENT);
    return connect_in(kRunDirectory, run_socket_name(*canonical));
}

// Why nobody answered, in the words that help most.
std::string explain(const std::string& dir, const std::string& state_dir, Errno first) {
    const auto shown = printable(dir.empty() ? state_dir : dir);
    if (first.value() == EACCES || first.value() == EPERM) {
        return shown + ": not permitted to talk to its daemon: be the user it runs as, or root";
    }
    if (!dir.empty()) {
        const auto opened = open_named(dir);
        if (!opened && opened.error().value() == ENOENT) return shown + " does not exist";
        if (!opened && opened.error().value() == ENOTDIR) return shown + " is not a directory";
        if (!opened && opened.error().value() == ENOTCONN) return shown + " is a mount whose daemon is gone";
        if (!opened) return shown + " cannot be opened: " + opened.error().text();
        if (state_dir.empty() && !stat_at(opened->get(), std::string(kStateName))) {
            return shown + " is no tdfs directory: it has no " + std::string(kStateName) +
                   " (is the state elsewhere? then name it with --state-dir)";
        }
    }
    if (!state_dir.empty() && !open_named(state_dir)) return printable(state_dir) + " is no state directory";
    return "no daemon runs on " + shown;
}

}  // namespace

ControlClient::ControlClient(OwnFd fd) : fd_(std::move(fd)) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0) {
        process_ = OwnFd(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
    }
}

Result<ControlClient, ControlError> ControlClient::connect(const std::string& dir, const std::string& state_dir) {
    const auto in_dir = dir + (dir.ends_with('/') ? "" : "/") + std::string(kStateName);
    auto first = connect_in(state_dir.empty() ? in_dir : state_dir, kControlSocketName);
    if (first) return ControlClient(std::move(*first));
    if (!dir.empty()) {
        auto second = connect_in_run_directory(dir);
        if (second) return ControlClient(std::move(*second));
    }
    return no_daemon(explain(dir, state_dir, first.error()));
}

Result<json, ControlError> ControlClient::ask(const json& command, std::optional<std::chrono::milliseconds> timeout,
                                              const std::function<void(const json&)>& on_line) {
    // Not sent: the server may still have said why (too many clients) before it closed.
    const auto sent = send_line(fd_.get(), command);
    std::optional<SteadyTime> deadline;
    if (timeout) deadline = std::chrono::steady_clock::now() + *timeout;
    LineReader reader(fd_.get(), kMaxControlLineBytes);
    for (;;) {
        const auto line = reader.next(-1, deadline);
        if (!line && line.error().value() == ETIMEDOUT) {
            return Unexpected<ControlError>(ControlError{ControlExit::kTimedOut, "the daemon did not answer in time"});
        }
        if (!line) return failed("cannot read the daemon's answer: " + line.error().text());
        if (!*line && !sent) return no_daemon("the daemon has closed the connection: " + sent.error().text());
        if (!*line) return no_daemon("the daemon ended before it answered");

        auto answer = json::parse(**line, nullptr, false);
        if (!answer.is_object()) return failed("the daemon's answer is no JSON object");
        if (const auto error = answer.find("error"); error != answer.end()) {
            const auto code = answer.find("code");
            const bool timed_out = code != answer.end() && *code == static_cast<int>(ControlExit::kTimedOut);
            return Unexpected<ControlError>(
                ControlError{timed_out ? ControlExit::kTimedOut : ControlExit::kFailed,
                             error->is_string() ? error->get<std::string>() : error->dump()});
        }
        if (answer.contains("ok")) return answer;
        if (on_line) on_line(answer);
    }
}

bool ControlClient::wait_for_end(std::chrono::milliseconds timeout) const {
    if (!process_) return true;
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        pollfd process{process_.get(), POLLIN, 0};
        const int ready = ::poll(&process, 1, static_cast<int>(std::clamp<long long>(left.count(), 0, INT_MAX)));
        if (ready > 0) return true;
        if (ready == 0 || errno != EINTR) return false;
    }
}

}  // namespace tdfs

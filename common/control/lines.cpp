#include "common/control/lines.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <climits>

#include <nlohmann/json.hpp>

#include "common/os/retry.hpp"

namespace tdfs {

namespace {

// For poll: -1 without a deadline; rounded up, so that a deadline is never announced too early.
int remaining_ms(std::optional<SteadyTime> deadline) {
    using std::chrono::milliseconds;
    if (!deadline) return -1;
    const auto left = std::chrono::ceil<milliseconds>(*deadline - std::chrono::steady_clock::now()).count();
    return static_cast<int>(std::clamp<long long>(left, 0, INT_MAX));
}

}  // namespace

SysResult<std::optional<std::string>> LineReader::next(int stop_fd, std::optional<SteadyTime> deadline) {
    for (;;) {
        const auto end = buffer_.find('\n', searched_);
        if (std::min(end, buffer_.size()) > limit_bytes_) return fail(EMSGSIZE);
        if (end != std::string::npos) {
            auto line = buffer_.substr(0, end);
            buffer_.erase(0, end + 1);
            searched_ = 0;
            return std::optional(std::move(line));
        }
        searched_ = buffer_.size();
        const auto more = fill(stop_fd, deadline);
        if (!more) return fail(more.error());
        if (!*more) return std::optional<std::string>();
    }
}

SysResult<bool> LineReader::fill(int stop_fd, std::optional<SteadyTime> deadline) {
    std::array<pollfd, 2> watched{{{fd_, POLLIN, 0}, {stop_fd, POLLIN, 0}}};
    const int ready = ::poll(watched.data(), watched.size(), remaining_ms(deadline));
    if (ready < 0 && errno == EINTR) return true;
    if (ready < 0) return fail_last();
    if (ready == 0) {
        if (deadline && std::chrono::steady_clock::now() >= *deadline) return fail(ETIMEDOUT);
        return true;
    }
    if (watched[1].revents != 0) return false;

    std::array<char, 16 * 1024> part{};
    const auto got = retry_interrupted([&] { return ::recv(fd_, part.data(), part.size(), 0); });
    if (got < 0 && errno == ECONNRESET) return false;
    if (got < 0) return fail_last();
    buffer_.append(part.data(), static_cast<std::size_t>(got));
    return got > 0;
}

SysResult<void> send_line(int fd, const nlohmann::json& object) {
    const auto line = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    for (std::size_t sent = 0; sent < line.size();) {
        const auto n =
            retry_interrupted([&] { return ::send(fd, line.data() + sent, line.size() - sent, MSG_NOSIGNAL); });
        if (n < 0) return fail_last();
        sent += static_cast<std::size_t>(n);
    }
    return {};
}

}  // namespace tdfs

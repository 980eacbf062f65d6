#include "common/stream/resolve.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include <asio/io_context.hpp>

#include "common/stream/timing.hpp"
#include "common/stream/wakeup.hpp"

namespace tdfs {

namespace {

using TcpResolver = asio::ip::tcp::resolver;
using Endpoints = std::vector<asio::ip::tcp::endpoint>;

Result<Endpoints, std::string> look_up(const std::string& host, const std::string& port, TcpResolver::flags flags) {
    try {
        asio::io_context context;
        TcpResolver resolver(context);
        Endpoints endpoints;
        for (const auto& entry : resolver.resolve(host, port, flags)) endpoints.push_back(entry.endpoint());
        return endpoints;
    } catch (const std::system_error& e) {
        return Unexpected(e.code().message());
    }
}

// Shared with the thread, which may outlive the question.
struct Answer {
    OwnFd arrived;  // eventfd
    std::mutex mutex;
    std::unique_ptr<Result<Endpoints, std::string>> result;
};

}  // namespace

Result<Endpoints, std::string> resolve(const std::string& host, const std::string& port, bool for_listening,
                                       int timeout_ms, int cancel) {
    const TcpResolver::flags flags = for_listening ? TcpResolver::passive : TcpResolver::flags{};
    asio::error_code not_numeric;
    static_cast<void>(asio::ip::make_address(host, not_numeric));
    if (!not_numeric) return look_up(host, port, flags | TcpResolver::numeric_host);

    const auto answer = std::make_shared<Answer>();
    answer->arrived.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!answer->arrived) return Unexpected(Errno::last().text());
    try {
        std::thread([answer, host, port, flags] {
            auto result = std::make_unique<Result<Endpoints, std::string>>(look_up(host, port, flags));
            const std::lock_guard lock(answer->mutex);
            answer->result = std::move(result);
            wake_event(answer->arrived.get());
        }).detach();
    } catch (const std::system_error& e) {
        return Unexpected(std::string("no thread to ask for it: ") + e.what());
    }

    const std::uint64_t deadline_ns = monotonic_ns() + static_cast<std::uint64_t>(timeout_ms) * kMillisecondNs;
    for (;;) {
        const std::uint64_t now_ns = monotonic_ns();
        if (now_ns >= deadline_ns) return Unexpected(std::string("no answer from the name service"));
        std::array<pollfd, 2> fds{pollfd{answer->arrived.get(), POLLIN, 0}, pollfd{cancel, POLLIN, 0}};
        const int n = ::poll(fds.data(), fds.size(), static_cast<int>((deadline_ns - now_ns) / kMillisecondNs) + 1);
        if (n < 0 && errno != EINTR) return Unexpected(Errno::last().text());
        if (n > 0 && fds[1].revents != 0) return Unexpected(Errno(ECANCELED).text());
        if (n > 0 && fds[0].revents != 0) {
            const std::lock_guard lock(answer->mutex);
            return std::move(*answer->result);
        }
    }
}

}  // namespace tdfs

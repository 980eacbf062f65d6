#include "common/stream/pulse.hpp"

#include <chrono>
#include <utility>

#include "common/stream/tcp.hpp"

namespace tdfs {

Pulse::Pulse(int fd, std::function<Bytes()> word) : fd_(fd), word_(std::move(word)), said_ns_(monotonic_ns()) {
    thread_ = std::thread([this] { run(); });
}

Pulse::~Pulse() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    ended_.notify_all();
    thread_.join();
}

void Pulse::run() {
    block_sigpipe_in_this_thread();
    std::unique_lock lock(mutex_);
    while (!ending_) {
        const std::uint64_t now_ns = monotonic_ns();
        const std::uint64_t due_ns = said_ns_ + kBusyNs;
        if (now_ns < due_ns) {
            ended_.wait_for(lock, std::chrono::nanoseconds(due_ns - now_ns));
            continue;
        }
        said_ns_ = now_ns;
        if (between_ && rest_.empty()) rest_ = word_();
        // An error is the session's to notice; a full socket is on its way and a sign of life by itself.
        static_cast<void>(finish_word());
    }
}

SysResult<void> Pulse::finish_word() {
    while (!rest_.empty()) {
        const auto n = tcp_send(fd_, rest_);
        if (!n) return fail(n.error());
        rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(*n));
    }
    return {};
}

}  // namespace tdfs

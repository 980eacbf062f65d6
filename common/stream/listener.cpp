#include "common/stream/listener.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>

#include <spdlog/spdlog.h>

#include "common/stream/subscriber_session.hpp"
#include "common/stream/timing.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kFirstInboxBytes = 4 * 1024;
constexpr std::size_t kAcceptsPerTurn = 64;
constexpr std::uint64_t kAcceptPauseNs = 100 * kMillisecondNs;

}  // namespace

Listener::Listener(TcpListener listener, const SubscriberOptions& options, Offer offer)
    : listener_(std::move(listener)), options_(options), offer_(std::move(offer)) {}

Listener::~Listener() { stop(); }

void Listener::start() {
    thread_ = std::thread([this] { run(); });
}

void Listener::stop() {
    stopping_.store(true);
    stop_.wake();
    if (thread_.joinable()) thread_.join();
}

std::string Listener::last_error() const {
    const std::lock_guard lock(mutex_);
    return last_error_;
}

void Listener::run() {
    std::vector<pollfd> fds;
    while (!stopping_.load()) {
        const std::uint64_t now_ns = monotonic_ns();
        std::uint64_t due_ns = now_ns + 3600 * kSecondNs;
        const bool may_accept = now_ns >= no_accept_before_ns_;
        if (!may_accept) due_ns = no_accept_before_ns_;
        fds.assign({pollfd{stop_.fd(), POLLIN, 0},
                    pollfd{listener_.fd.get(), static_cast<short>(may_accept ? POLLIN : 0), 0}});
        for (const Pending& p : pending_) {
            fds.push_back({p.peer.fd.get(), POLLIN, 0});
            due_ns = std::min(due_ns, p.deadline_ns);
        }
        const int timeout_ms = due_ns > now_ns ? static_cast<int>((due_ns - now_ns) / kMillisecondNs) + 1 : 0;
        if (::poll(fds.data(), fds.size(), timeout_ms) < 0) continue;  // interrupted: look again

        std::vector<Pending> still;
        const std::uint64_t after_ns = monotonic_ns();
        for (std::size_t i = 0; i < pending_.size(); ++i) {
            Pending& p = pending_[i];
            if (fds[i + 2].revents != 0 && !hear(p)) continue;
            if (after_ns >= p.deadline_ns) {
                refuse(p.peer, "timeout", "no complete hello in time");
                continue;
            }
            still.push_back(std::move(p));
        }
        pending_ = std::move(still);
        if (fds[1].revents != 0) accept_some();
    }
    pending_.clear();
}

void Listener::accept_some() {
    for (std::size_t i = 0; i < kAcceptsPerTurn; ++i) {
        auto peer = tcp_accept(listener_.fd.get(), options_.nodelay);
        if (!peer) {
            const int why = peer.error().value();
            if (why == EAGAIN) return;
            // Mostly: out of descriptors. The connection stays in the queue, so poll would call again at once.
            complain("", "accept", "cannot accept connections: " + peer.error().text());
            no_accept_before_ns_ = monotonic_ns() + kAcceptPauseNs;
            if (!pending_.empty()) pending_.erase(pending_.begin());
            return;
        }
        if (pending_.size() >= std::max<std::size_t>(options_.max_pending, 1)) {
            // The oldest goes, not the newest: the master says Hello at once, so idle ones cannot keep it out.
            refuse(pending_.front().peer, "crowd", "too many connections that say nothing");
            pending_.erase(pending_.begin());
        }
        const std::uint64_t deadline_ns = monotonic_ns() + options_.handshake_timeout_ms * kMillisecondNs;
        pending_.push_back(Pending{std::move(*peer), FrameBuffer(kFirstInboxBytes, kMaxHelloBytes), deadline_ns});
    }
}

bool Listener::hear(Pending& pending) {
    const auto n = tcp_receive(pending.peer.fd.get(), pending.inbox.space());
    if (!n && n.error().value() == EAGAIN) return true;
    if (!n || *n == 0) {
        refuse(pending.peer, "closed", n ? "it left before its hello was complete" : n.error().text());
        return false;
    }
    pending.inbox.filled(*n);
    auto hello = read_hello(pending.inbox);
    if (!hello) {
        refuse(pending.peer, "garbage", hello.error().what);
        return false;
    }
    if (!*hello) return true;
    const std::string peer = endpoint_text(pending.peer.address, std::to_string(pending.peer.port));
    Arrival arrival{std::move(pending.peer.fd), peer, std::move(**hello)};
    if (const auto why = offer_(arrival)) {
        const Bytes words = message(MessageKind::kRefuse, encode(Refuse{*why}), wall_clock_ns());
        // A socket that has sent nothing yet takes these few bytes; one that does not gets no reason.
        static_cast<void>(tcp_send(arrival.fd.get(), words));
        refuse(pending.peer, "refused", *why);
    }
    return false;
}

void Listener::refuse(const TcpPeer& peer, const char* kind, const std::string& text) {
    refused_.fetch_add(1);
    complain(peer.address, kind, "connection from " + peer.address + " refused: " + text);
}

void Listener::complain(const std::string& address, const char* kind, const std::string& text) {
    {
        const std::lock_guard lock(mutex_);
        last_error_ = text;
    }
    if (throttle_.worth_a_line(address, kind, monotonic_ns())) spdlog::warn("{}", text);
}

}  // namespace tdfs

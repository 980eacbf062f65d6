#include "common/stream/subscriber_link.hpp"

#include <poll.h>

#include <array>
#include <cerrno>
#include <utility>

#include <spdlog/spdlog.h>

#include "common/stream/position.hpp"
#include "common/stream/tcp.hpp"

namespace tdfs {

namespace {

constexpr int kLastWordsMs = 1000;

}  // namespace

SubscriberLink::SubscriberLink(ReplicaPort& port) : port_(port) {}

SubscriberLink::~SubscriberLink() { stop(); }

void SubscriberLink::start() {
    thread_ = std::thread([this] { run(); });
}

void SubscriberLink::stop() {
    stopping_.store(true);
    wakeup_.wake();
    if (thread_.joinable()) thread_.join();
}

std::optional<std::string> SubscriberLink::offer(Arrival& arrival) {
    if (auto why = refuse_master(arrival.hello)) return why;
    {
        const std::lock_guard lock(mutex_);
        if (serving_ && *serving_ != arrival.hello.volume) {
            return "the replica is receiving volume " + serving_->text() + " from " + status_.peer + ", not " +
                   arrival.hello.volume.text() + ": stop that master first, or name another slave";
        }
        waiting_ = std::move(arrival);
    }
    wakeup_.wake();
    return std::nullopt;
}

Subscriber::Status SubscriberLink::status() const {
    const std::lock_guard lock(mutex_);
    return status_;
}

const char* SubscriberLink::called_away() const {
    if (stopping_.load()) return "stopped";
    const std::lock_guard lock(mutex_);
    return waiting_ ? "replaced by a new connection of the master" : nullptr;
}

void SubscriberLink::run() {
    block_sigpipe_in_this_thread();
    while (!stopping_.load()) {
        std::optional<Arrival> next;
        {
            const std::lock_guard lock(mutex_);
            next = std::exchange(waiting_, std::nullopt);
        }
        if (next) {
            wakeup_.drain();
            serve(std::move(*next));
            continue;
        }
        pollfd wakeup{wakeup_.fd(), POLLIN, 0};
        static_cast<void>(::poll(&wakeup, 1, -1));  // interrupted: look again
        wakeup_.drain();
    }
}

void SubscriberLink::serve(Arrival arrival) {
    SubscriberSession session(port_, std::move(arrival.hello), Instant::now());
    if (session.welcomed()) {
        const std::lock_guard lock(mutex_);
        serving_ = session.hello().volume;
        status_.connected = true;
        status_.master = session.hello().name;
        status_.peer = arrival.peer;
        ++status_.connects;
    }
    if (session.welcomed()) spdlog::info("master {} ({}): connected", arrival.peer, session.hello().name);
    const SessionEnd end = run_session(arrival.fd.get(), session);
    note_end(arrival, session, end);
    tcp_close_politely(std::move(arrival.fd), session.ended() ? session.out() : ByteView(),
                       session.ended() ? kLastWordsMs : 0, wakeup_.fd());
}

SessionEnd SubscriberLink::run_session(int fd, SubscriberSession& session) {
    lost_.clear();
    Pulse pulse(fd, [] { return message(MessageKind::kHeartbeat, encode(Heartbeat{}), wall_clock_ns()); });
    for (;;) {
        if (const char* why = called_away()) return {false, why};
        session.tick(Instant::now());
        if (session.ended()) return *session.ended();
        if (!exchange(fd, pulse, session)) return session.ended() ? *session.ended() : SessionEnd{false, lost_};
    }
}

// Sends what there is, sleeps, receives. False: the session is over.
bool SubscriberLink::exchange(int fd, Pulse& pulse, SubscriberSession& session) {
    bool blocked = false;
    if (!send(fd, pulse, session, blocked)) {
        static_cast<void>(receive(fd, session));  // its last words may say why
        return false;
    }
    const std::uint64_t now_ns = monotonic_ns();
    const std::uint64_t due_ns = session.next_tick_ns();
    const int timeout_ms = due_ns > now_ns ? static_cast<int>((due_ns - now_ns) / kMillisecondNs) + 1 : 0;
    std::array<pollfd, 3> fds{pollfd{fd, 0, 0}, pollfd{wakeup_.fd(), POLLIN, 0}, pollfd{port_.ack_event(), POLLIN, 0}};
    if (session.wants_input()) fds[0].events |= POLLIN;
    if (blocked) fds[0].events |= POLLOUT;
    if (::poll(fds.data(), fds.size(), timeout_ms) < 0) return true;  // interrupted: another turn
    if ((fds[1].revents & POLLIN) != 0) wakeup_.drain();
    if ((fds[2].revents & POLLIN) != 0) {
        drain_event(port_.ack_event());
        session.acknowledge();
    }
    if ((fds[0].revents & (POLLIN | POLLERR | POLLHUP)) == 0) {
        session.nothing_came(Instant::now());
        return true;
    }
    if (!session.wants_input()) {
        lost_ = "link lost while the replica took nothing";
        return false;
    }
    return receive(fd, session) && !session.ended();
}

bool SubscriberLink::send(int fd, Pulse& pulse, SubscriberSession& session, bool& blocked) {
    while (!session.out().empty()) {
        const auto n = pulse.send([&] { return tcp_send(fd, session.out()); });
        if (!n) {
            blocked = n.error().value() == EAGAIN;
            if (!blocked) lost_ = "link lost: " + n.error().text();
            return blocked;
        }
        session.sent(*n);
    }
    pulse.between_frames(session.between_frames());
    return true;
}

bool SubscriberLink::receive(int fd, SubscriberSession& session) {
    const auto space = session.space();
    const auto n = space.empty() ? SysResult<std::size_t>(fail(EAGAIN)) : tcp_receive(fd, space);
    if (n && *n > 0) {
        {
            const std::lock_guard lock(mutex_);
            status_.bytes_received += *n;
        }
        session.filled(*n, Instant::now());
        return true;
    }
    if (!n && n.error().value() == EAGAIN) return true;
    if (lost_.empty()) lost_ = n ? "the master closed the link" : "link lost: " + n.error().text();
    return false;
}

void SubscriberLink::note_end(const Arrival& arrival, const SubscriberSession& session, const SessionEnd& end) {
    {
        const std::lock_guard lock(mutex_);
        serving_.reset();
        status_.connected = false;
        status_.last_error = end.text;
        if (!session.welcomed()) ++status_.refused;
    }
    const std::string address = arrival.peer.substr(0, arrival.peer.rfind(':'));
    if (stopping_.load() || !throttle_.worth_a_line(address, end.text, monotonic_ns())) return;
    spdlog::warn("master {} ({}): {}", arrival.peer, session.hello().name, end.text);
}

}  // namespace tdfs

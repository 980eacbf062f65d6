#include "common/stream/tcp.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "common/stream/resolve.hpp"
#include "common/stream/timing.hpp"

namespace tdfs {

namespace {

using Endpoint = asio::ip::tcp::endpoint;

// The options of every link. An application-level heartbeat watches the link; keepalive is for the time in which a
// replica with a full spool reads nothing. No TCP_USER_TIMEOUT: the kernel would also close a link whose receive
// window has been shut that long, which is what a full spool looks like.
void set_link_options(int fd, bool nodelay) {
    const auto set = [fd](int level, int option, int value) {
        // Refused options cost comfort only.
        static_cast<void>(::setsockopt(fd, level, option, &value, sizeof value));
    };
    set(IPPROTO_TCP, TCP_NODELAY, nodelay ? 1 : 0);
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
    set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

// 0: ready. ETIMEDOUT, ECANCELED.
int wait_for(int fd, short events, int timeout_ms, int cancel) {
    const std::uint64_t deadline_ns = monotonic_ns() + static_cast<std::uint64_t>(timeout_ms) * kMillisecondNs;
    for (;;) {
        const std::uint64_t now_ns = monotonic_ns();
        if (now_ns >= deadline_ns) return ETIMEDOUT;
        std::array<pollfd, 2> fds{pollfd{fd, events, 0}, pollfd{cancel, POLLIN, 0}};
        const int n = ::poll(fds.data(), fds.size(), static_cast<int>((deadline_ns - now_ns) / kMillisecondNs) + 1);
        if (n < 0 && errno != EINTR) return errno;
        if (n <= 0) continue;
        if (fds[1].revents != 0) return ECANCELED;
        if (fds[0].revents != 0) return 0;
    }
}

// A connection to a port of the ephemeral range on which nobody listens may meet itself.
bool connected_to_itself(int fd) {
    Endpoint here, there;
    socklen_t here_size = static_cast<socklen_t>(here.capacity());
    socklen_t there_size = static_cast<socklen_t>(there.capacity());
    if (::getsockname(fd, here.data(), &here_size) != 0 || ::getpeername(fd, there.data(), &there_size) != 0)
        return false;
    here.resize(here_size);
    there.resize(there_size);
    return here == there;
}

SysResult<OwnFd> connect_to(const Endpoint& endpoint, bool nodelay, int timeout_ms, int cancel) {
    OwnFd fd(::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!fd) return fail_last();
    set_link_options(fd.get(), nodelay);
    if (::connect(fd.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0) {
        if (errno != EINPROGRESS && errno != EINTR) return fail_last();
        if (const int why = wait_for(fd.get(), POLLOUT, timeout_ms, cancel)) return fail(why);
        int error = 0;
        socklen_t size = sizeof error;
        if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return fail_last();
        if (error != 0) return fail(error);
    }
    if (connected_to_itself(fd.get())) return fail(ECONNREFUSED);
    return fd;
}

SysResult<TcpListener> listen_on(const Endpoint& endpoint) {
    OwnFd fd(::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!fd) return fail_last();
    const int on = 1;
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return fail_last();
    if (::bind(fd.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0) return fail_last();
    if (::listen(fd.get(), SOMAXCONN) != 0) return fail_last();
    Endpoint bound;
    socklen_t size = static_cast<socklen_t>(bound.capacity());
    if (::getsockname(fd.get(), bound.data(), &size) != 0) return fail_last();
    bound.resize(size);
    return TcpListener{std::move(fd), bound.port()};
}

SysResult<std::size_t> transferred(ssize_t n) {
    if (n < 0) return fail_last();
    return static_cast<std::size_t>(n);
}

}  // namespace

std::string endpoint_text(const std::string& host, const std::string& port) {
    return host.find(':') != std::string::npos ? "[" + host + "]:" + port : host + ":" + port;
}

Result<OwnFd, std::string> tcp_connect(const std::string& host, const std::string& port, bool nodelay, int timeout_ms,
                                       int cancel) {
    const std::string where = endpoint_text(host, port);
    auto endpoints = resolve(host, port, false, timeout_ms, cancel);
    if (!endpoints) return Unexpected("cannot find " + where + ": " + endpoints.error());
    Errno why(ENOENT);
    for (const Endpoint& endpoint : *endpoints) {
        auto fd = connect_to(endpoint, nodelay, timeout_ms, cancel);
        if (fd) return std::move(*fd);
        why = fd.error();
        if (why.value() == ECANCELED) break;
    }
    const char* advice = why.value() == ECONNREFUSED ? " (is tdfs_slave running there?)" : "";
    return Unexpected("cannot connect to " + where + ": " + why.text() + advice);
}

Result<TcpListener, std::string> tcp_listen(const std::string& address, const std::string& port) {
    const std::string what = "cannot listen on " + endpoint_text(address, port) + ": ";
    auto endpoints = resolve(address, port, true, 10'000, -1);
    if (!endpoints) return Unexpected(what + endpoints.error() + " (-l ADDR:PORT names an address of this machine)");
    Errno why(ENOENT);
    for (const Endpoint& endpoint : *endpoints) {
        auto listener = listen_on(endpoint);
        if (listener) return std::move(*listener);
        why = listener.error();
    }
    switch (why.value()) {
        case EADDRINUSE:
            return Unexpected(what + why.text() + " (is another tdfs_slave running? choose another with -l ADDR:PORT)");
        case EADDRNOTAVAIL:
            return Unexpected(what + why.text() +
                              " (no interface of this machine has that address; choose another with -l ADDR:PORT)");
        case EACCES:
            return Unexpected(what + why.text() + " (ports below 1024 need root; choose another with -l ADDR:PORT)");
        default:
            return Unexpected(what + why.text());
    }
}

SysResult<TcpPeer> tcp_accept(int listener, bool nodelay) {
    Endpoint from;
    socklen_t size = static_cast<socklen_t>(from.capacity());
    OwnFd fd;
    do {
        fd.reset(::accept4(listener, from.data(), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    } while (!fd && (errno == EINTR || errno == ECONNABORTED));
    if (!fd) return fail_last();
    from.resize(size);
    set_link_options(fd.get(), nodelay);
    return TcpPeer{std::move(fd), from.address().to_string(), from.port()};
}

SysResult<std::size_t> tcp_receive(int fd, std::span<std::byte> into) {
    ssize_t n;
    do {
        n = ::recv(fd, into.data(), into.size(), 0);
    } while (n < 0 && errno == EINTR);
    return transferred(n);
}

SysResult<std::size_t> tcp_send(int fd, ByteView bytes) {
    ssize_t n;
    do {
        n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return transferred(n);
}

SysResult<std::size_t> tcp_send_file(int fd, int file, std::uint64_t offset, std::size_t bytes) {
    ssize_t n;
    do {
        auto at = static_cast<off_t>(offset);
        n = ::sendfile(fd, file, &at, bytes);
    } while (n < 0 && errno == EINTR);
    if (n == 0 && bytes > 0) return fail(EIO);  // the file ends before what was committed to it
    return transferred(n);
}

void tcp_close_politely(OwnFd fd, ByteView last, int timeout_ms, int cancel) {
    const std::uint64_t deadline_ns = monotonic_ns() + static_cast<std::uint64_t>(timeout_ms) * kMillisecondNs;
    const auto wait = [&](short events) {
        const std::uint64_t now_ns = monotonic_ns();
        return now_ns < deadline_ns &&
               wait_for(fd.get(), events, static_cast<int>((deadline_ns - now_ns) / kMillisecondNs) + 1, cancel) == 0;
    };
    while (!last.empty()) {
        const auto sent = tcp_send(fd.get(), last);
        if (sent) {
            last = last.subspan(*sent);
        } else if (sent.error().value() != EAGAIN || !wait(POLLOUT)) {
            return;
        }
    }
    if (::shutdown(fd.get(), SHUT_WR) != 0) return;
    std::array<std::byte, 16384> unread;
    for (;;) {
        const auto got = tcp_receive(fd.get(), unread);
        if (got ? *got == 0 : got.error().value() != EAGAIN) return;
        if (monotonic_ns() >= deadline_ns || (!got && !wait(POLLIN))) return;
    }
}

void block_sigpipe_in_this_thread() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    TDFS_INVARIANT(::pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0, "SIGPIPE cannot be blocked");
}

}  // namespace tdfs

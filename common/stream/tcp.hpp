// TCP as the sessions need it: connect and listen in the words of asio, then plain descriptors that never block.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "common/os/fd.hpp"
#include "proto/bytes.hpp"
#include "proto/errno.hpp"

namespace tdfs {

// host:port, with brackets around an IPv6 literal.
[[nodiscard]] std::string endpoint_text(const std::string& host, const std::string& port);

// Resolves and connects, trying one address after the other. Gives up on each step after timeout_ms, and at once when
// `cancel` becomes readable. The error text says what failed and what to do.
Result<OwnFd, std::string> tcp_connect(const std::string& host, const std::string& port, bool nodelay, int timeout_ms,
                                       int cancel);

struct TcpListener {
    OwnFd fd;
    std::uint16_t port = 0;  // the real one where "0" was asked for
};
Result<TcpListener, std::string> tcp_listen(const std::string& address, const std::string& port);

struct TcpPeer {
    OwnFd fd;
    std::string address;  // without the port
    std::uint16_t port = 0;
};
SysResult<TcpPeer> tcp_accept(int listener, bool nodelay);  // EAGAIN: nobody is waiting

// One transfer each. EAGAIN: not now. Received 0: the other side has closed.
SysResult<std::size_t> tcp_receive(int fd, std::span<std::byte> into);
SysResult<std::size_t> tcp_send(int fd, ByteView bytes);
SysResult<std::size_t> tcp_send_file(int fd, int file, std::uint64_t offset, std::size_t bytes);

// Sends `last` (may be empty), says that nothing more comes, and closes once the other side has closed too, so that a
// reset caused by bytes nobody reads does not destroy the last words. Waits timeout_ms at most, not at all once
// `cancel` is readable.
void tcp_close_politely(OwnFd fd, ByteView last, int timeout_ms, int cancel);

// sendfile has no flag against SIGPIPE; each session thread blocks it for itself.
void block_sigpipe_in_this_thread();

}  // namespace tdfs

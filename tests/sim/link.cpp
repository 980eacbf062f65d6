// In the place of common/stream/tcp.cpp: what the links of publisher and subscriber call, over the simulated network.
#include <cerrno>

#include "common/os/file.hpp"
#include "common/stream/tcp.hpp"
#include "tests/sim/world.hpp"

namespace tdfs {

namespace {

using sim::the_world;

SysResult<std::size_t> moved(long n) {
    if (n < 0) return fail_last();
    return static_cast<std::size_t>(n);
}

}  // namespace

std::string endpoint_text(const std::string& host, const std::string& port) { return host + ":" + port; }

Result<OwnFd, std::string> tcp_connect(const std::string& host, const std::string& port, bool, int, int) {
    the_world->at_call("connect");
    const int fd = the_world->network.connect(the_world->current()->id, host);
    if (fd < 0) return Unexpected("cannot connect to " + endpoint_text(host, port) + ": nobody listens");
    return OwnFd(fd);
}

Result<TcpListener, std::string> tcp_listen(const std::string& address, const std::string&) {
    return TcpListener{OwnFd(the_world->network.listen(the_world->current()->id, address)), 4710};
}

SysResult<TcpPeer> tcp_accept(int listener, bool) {
    the_world->at_call("accept");
    const int fd = the_world->network.accept(listener);
    if (fd < 0) return fail(EAGAIN);
    return TcpPeer{OwnFd(fd), "master", 1};
}

SysResult<std::size_t> tcp_receive(int fd, std::span<std::byte> into) {
    the_world->at_call("receive");
    return moved(the_world->network.receive(fd, into));
}

SysResult<std::size_t> tcp_send(int fd, ByteView bytes) {
    the_world->at_call("send");
    return moved(the_world->network.send(fd, bytes));
}

SysResult<std::size_t> tcp_send_file(int fd, int file, std::uint64_t offset, std::size_t bytes) {
    the_world->at_call("sendfile");
    constexpr std::size_t kMost = 64 * 1024;
    Bytes piece(std::min(bytes, kMost));
    const auto got = read_some(file, piece, offset);
    if (!got) return fail(got.error());
    if (*got == 0) return fail(EIO);
    piece.resize(*got);
    return moved(the_world->network.send(fd, piece));
}

// What is said last arrives if the link lets it; nobody waits for that here.
void tcp_close_politely(OwnFd fd, ByteView last, int, int) {
    if (!last.empty()) static_cast<void>(the_world->network.send(fd.get(), last));
    the_world->network.shut(fd.get());
}

void block_sigpipe_in_this_thread() {}

}  // namespace tdfs

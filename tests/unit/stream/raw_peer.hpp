// A hand-made peer on a real socket, for what no well-behaved daemon does.
#pragma once

#include <string>

#include "common/os/fd.hpp"
#include "proto/session.hpp"

namespace tdfs::test {

Hello good_hello();

// The client's end, blocking as far as the test sees it.
class RawPeer {
  public:
    explicit RawPeer(std::uint16_t port);
    explicit RawPeer(OwnFd fd) : fd_(std::move(fd)) {}

    void send(ByteView bytes);
    // The next whole frame; empty when the other side has closed.
    Bytes receive();
    // Reads until the other side closes.
    void expect_close();
    // Hello out, Welcome in, Resume at the welcome's position out.
    Welcome shake_hands(const Hello& hello);
    // The words of the Refuse that must come.
    std::string expect_refusal();
    void close() { fd_.reset(); }

  private:
    bool wait_readable();
    OwnFd fd_;
    Bytes unread_;
};

// A port on which nobody listens.
std::uint16_t free_port();

}  // namespace tdfs::test

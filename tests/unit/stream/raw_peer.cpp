#include "tests/unit/stream/raw_peer.hpp"

#include <poll.h>

#include "common/stream/tcp.hpp"
#include "proto/record.hpp"
#include "tests/unit/stream/fixture.hpp"

namespace tdfs::test {

namespace {

constexpr int kPatienceMs = 60'000;

}  // namespace

Hello good_hello() {
    Hello hello;
    hello.format = format_hash();
    hello.volume = volume().id;
    hello.history = volume().history;
    hello.oldest = hello.tail = kFirst;
    hello.name = "hand-made";
    return hello;
}

RawPeer::RawPeer(std::uint16_t port) {
    auto fd = tcp_connect("127.0.0.1", std::to_string(port), true, kPatienceMs, -1);
    if (!fd) FAIL(fd.error());
    fd_ = std::move(*fd);
}

void RawPeer::send(ByteView bytes) {
    while (!bytes.empty()) {
        const auto n = tcp_send(fd_.get(), bytes);
        if (n) {
            bytes = bytes.subspan(*n);
            continue;
        }
        if (n.error().value() != EAGAIN) return;  // closed by the other side: the test looks for that by receiving
        pollfd p{fd_.get(), POLLOUT, 0};
        REQUIRE(::poll(&p, 1, kPatienceMs) > 0);
    }
}

bool RawPeer::wait_readable() {
    pollfd p{fd_.get(), POLLIN, 0};
    return ::poll(&p, 1, kPatienceMs) > 0;
}

Bytes RawPeer::receive() {
    for (;;) {
        const auto frame = parse_frame(unread_);
        REQUIRE(frame);
        if (frame->complete()) {
            Bytes whole(frame->bytes.begin(), frame->bytes.end());
            unread_.erase(unread_.begin(), unread_.begin() + static_cast<std::ptrdiff_t>(whole.size()));
            return whole;
        }
        REQUIRE(wait_readable());
        std::array<std::byte, 65536> chunk;
        const auto n = tcp_receive(fd_.get(), chunk);
        if (!n || *n == 0) return {};
        unread_.insert(unread_.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(*n));
    }
}

void RawPeer::expect_close() {
    while (!receive().empty()) {
    }
}

Welcome RawPeer::shake_hands(const Hello& hello) {
    send(message(MessageKind::kHello, encode(hello), 0));
    const Bytes reply = receive();
    REQUIRE_FALSE(reply.empty());
    const auto frame = parse_frame(reply);
    REQUIRE(static_cast<MessageKind>(frame->header.kind) == MessageKind::kWelcome);
    const auto welcome = decode_Welcome(frame->payload);
    REQUIRE(welcome);
    send(message(MessageKind::kResume, encode(Resume{{kEpoch, welcome->received}}), 0));
    return *welcome;
}

std::string RawPeer::expect_refusal() {
    const Bytes reply = receive();
    REQUIRE_FALSE(reply.empty());
    const auto frame = parse_frame(reply);
    REQUIRE(static_cast<MessageKind>(frame->header.kind) == MessageKind::kRefuse);
    const auto refuse = decode_Refuse(frame->payload);
    REQUIRE(refuse);
    expect_close();
    return refuse->reason;
}

std::uint16_t free_port() {
    auto listener = tcp_listen("127.0.0.1", "0");
    REQUIRE(listener);
    return listener->port;
}

}  // namespace tdfs::test

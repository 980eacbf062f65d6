// Who knocks at a slave's door: strangers, noise and crowds do no harm, the master gets in.
#include "common/stream/tcp.hpp"
#include "tests/unit/stream/fixture.hpp"
#include "tests/unit/stream/raw_peer.hpp"

using namespace tdfs;
using namespace tdfs::test;
using Catch::Matchers::ContainsSubstring;

namespace {

struct Slave {
    explicit Slave(ReplicaPort& port, std::uint32_t handshake_timeout_ms = 60'000) {
        SubscriberOptions options;
        options.port = "0";
        options.handshake_timeout_ms = handshake_timeout_ms;
        auto listening = Subscriber::listen(options, port);
        if (!listening) FAIL(listening.error());
        subscriber = std::move(*listening);
        subscriber->start();
    }
    [[nodiscard]] std::uint16_t port() const { return subscriber->bound_port(); }
    std::unique_ptr<Subscriber> subscriber;
};

// One more record by this master; it has arrived when this returns.
void stream_one(RawPeer& master, FakeReplica& replica) {
    const Lsn at = replica.received();
    const Bytes frame = make_frame(FrameKind::kRecord, at, 0, as_bytes("a record"));
    master.send(frame);
    eventually([&] { return replica.received() == at + frame.size(); });
}

}  // namespace

TEST_CASE("a port in use and an address of another machine are named, with advice") {
    FakeReplica replica;
    Slave slave(replica);
    SubscriberOptions options;
    options.port = std::to_string(slave.port());
    auto second = Subscriber::listen(options, replica);
    REQUIRE_FALSE(second);
    REQUIRE(second.error() ==
            "cannot listen on 127.0.0.1:" + options.port +
                ": Address already in use (is another tdfs_slave running? choose another with -l ADDR:PORT)");
    options.address = "192.0.2.1";
    auto elsewhere = Subscriber::listen(options, replica);
    REQUIRE_FALSE(elsewhere);
    REQUIRE_THAT(elsewhere.error(), ContainsSubstring("cannot listen on 192.0.2.1:"));
}

TEST_CASE("garbage at the door is closed and counted, and the session does not notice") {
    FakeReplica replica(kFirst);
    Slave slave(replica);
    RawPeer master(slave.port());
    master.shake_hands(good_hello());
    stream_one(master, replica);

    RawPeer noise(slave.port());
    noise.send(as_bytes(std::string(5000, 'x')));
    noise.expect_close();
    RawPeer http(slave.port());
    http.send(as_bytes("GET / HTTP/1.1\r\nHost: replica.example.org\r\nAccept: */*\r\n\r\n"));
    http.expect_close();
    RawPeer wrong(slave.port());
    wrong.send(message(MessageKind::kAck, encode(Ack{}), 0));
    wrong.expect_close();
    RawPeer huge(slave.port());
    huge.send(ByteView(make_frame(static_cast<FrameKind>(MessageKind::kHello), Lsn(), 0, Bytes(kMaxPayloadBytes)))
                  .first(1000));
    huge.expect_close();
    { const RawPeer silent(slave.port()); }

    eventually([&] { return slave.subscriber->status().refused == 5; });
    stream_one(master, replica);
    REQUIRE(slave.subscriber->status().connects == 1);
    REQUIRE(slave.subscriber->status().connected);
    REQUIRE(slave.subscriber->status().master == "hand-made");
    REQUIRE(replica.overlaps() == 0);
}

TEST_CASE("half a hello is closed when its time is over") {
    FakeReplica replica(kFirst);
    Slave slave(replica, 100);
    RawPeer half(slave.port());
    half.send(ByteView(message(MessageKind::kHello, encode(good_hello()), 0)).first(60));
    half.expect_close();
    eventually([&] { return slave.subscriber->status().refused == 1; });
}

TEST_CASE("a hello of another version is refused in words") {
    FakeReplica replica(kFirst);
    Slave slave(replica);
    Hello hello = good_hello();
    hello.version = 42;
    RawPeer peer(slave.port());
    peer.send(message(MessageKind::kHello, encode(hello), 0));
    REQUIRE_THAT(peer.expect_refusal(), ContainsSubstring("protocol version 42"));
}

TEST_CASE("a thousand idle connections keep neither the running session nor the next master from its work") {
    FakeReplica replica(kFirst);
    Slave slave(replica);
    RawPeer master(slave.port());
    master.shake_hands(good_hello());
    std::vector<std::unique_ptr<RawPeer>> crowd;
    for (int i = 0; i < 1000; ++i) {
        crowd.push_back(std::make_unique<RawPeer>(slave.port()));
        if (crowd.size() > 300) crowd.erase(crowd.begin(), crowd.begin() + 100);  // our own descriptors are bounded too
        if (i % 100 == 0) stream_one(master, replica);
    }
    eventually([&] { return slave.subscriber->status().refused >= 1000 - 64; });
    stream_one(master, replica);
    REQUIRE(slave.subscriber->status().connects == 1);

    RawPeer again(slave.port());
    again.shake_hands(good_hello());
    stream_one(again, replica);
    REQUIRE(slave.subscriber->status().connects == 2);
}

TEST_CASE("a new connection of the master replaces the old one, calls never overlap") {
    FakeReplica replica(kFirst);
    Slave slave(replica);
    auto master = std::make_unique<RawPeer>(slave.port());
    master->shake_hands(good_hello());
    for (int i = 0; i < 20; ++i) {
        stream_one(*master, replica);
        const Bytes unfinished = make_frame(FrameKind::kRecord, replica.received(), 0, Bytes(5000));
        master->send(ByteView(unfinished).first(3000));
        auto next = std::make_unique<RawPeer>(slave.port());
        const Welcome welcome = next->shake_hands(good_hello());
        REQUIRE(welcome.received == replica.received());
        master->expect_close();
        master = std::move(next);
    }
    stream_one(*master, replica);
    REQUIRE(replica.overlaps() == 0);
    REQUIRE(slave.subscriber->status().connects == 21);
}

TEST_CASE("a master of another volume cannot end the session of this one") {
    FakeReplica replica(kFirst);
    Slave slave(replica);
    RawPeer master(slave.port());
    master.shake_hands(good_hello());
    Hello other = good_hello();
    other.volume.bytes[9] = std::byte{5};
    RawPeer stranger(slave.port());
    stranger.send(message(MessageKind::kHello, encode(other), 0));
    REQUIRE_THAT(stranger.expect_refusal(), ContainsSubstring("the replica is receiving volume"));
    stream_one(master, replica);
    REQUIRE(slave.subscriber->status().connects == 1);

    master.close();
    eventually([&] { return !slave.subscriber->status().connected; });
    RawPeer later(slave.port());
    later.send(message(MessageKind::kHello, encode(other), 0));
    REQUIRE(later.expect_refusal() == "this replica has another volume");
    RawPeer back(slave.port());
    back.shake_hands(good_hello());
    stream_one(back, replica);
}

TEST_CASE("stop ends sessions and pending connections at once") {
    FakeReplica replica(kFirst);
    Slave slave(replica);
    RawPeer master(slave.port());
    master.shake_hands(good_hello());
    RawPeer pending(slave.port());
    stream_one(master, replica);
    slave.subscriber->stop();
    master.expect_close();
    pending.expect_close();
}

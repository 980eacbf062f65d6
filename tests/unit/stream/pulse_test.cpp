// A session whose thread is busy is heard all the same.
#include "common/stream/pulse.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <future>

#include "common/stream/tcp.hpp"
#include "tests/unit/stream/fixture.hpp"
#include "tests/unit/stream/raw_peer.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

const Bytes kWord = message(MessageKind::kHeartbeat, encode(Heartbeat{}), 0);

MessageKind kind_of(const Bytes& frame) {
    REQUIRE_FALSE(frame.empty());
    return static_cast<MessageKind>(parse_frame(frame)->header.kind);
}

struct Ends {
    Ends() {
        std::array<int, 2> fds{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
        here.reset(fds[0]);
        there.reset(fds[1]);
    }
    OwnFd here, there;
};

// A replica that stands in a call until the test lets it go, as one whose disk is busy.
class BusyReplica : public FakeReplica {
  public:
    using FakeReplica::FakeReplica;
    Result<void, std::string> resume(const Hello& hello, const Resume& from) override {
        go_on_.wait();
        return FakeReplica::resume(hello, from);
    }
    std::promise<void> may_go_on;

  private:
    std::shared_future<void> go_on_{may_go_on.get_future()};
};

// Also if the test fails.
struct LetGo {
    explicit LetGo(std::promise<void>& promise) : may_go_on(promise) {}
    ~LetGo() { may_go_on.set_value(); }
    LetGo(const LetGo&) = delete;
    LetGo& operator=(const LetGo&) = delete;
    std::promise<void>& may_go_on;
};

// Likewise of a resync on the master.
class BusyResponder : public ResyncResponder {
  public:
    explicit BusyResponder(std::shared_future<void> go_on) : go_on_(std::move(go_on)) {}
    Result<void, DecodeError> receive(MessageKind /*kind*/, ByteView /*payload*/) override { return {}; }
    bool produce(Bytes& /*out*/) override {
        go_on_.wait();
        return false;
    }
    [[nodiscard]] std::optional<Position> finished() const override { return std::nullopt; }
    [[nodiscard]] double hold_ms() const override { return 0; }

  private:
    std::shared_future<void> go_on_;
};

}  // namespace

TEST_CASE("where a session says nothing its pulse does, again and again, but never within a frame") {
    Ends ends;
    RawPeer peer(std::move(ends.there));
    Pulse pulse(ends.here.get(), [] { return kWord; });
    const auto say = [&](ByteView bytes) {
        const auto n = pulse.send([&] { return tcp_send(ends.here.get(), bytes); });
        REQUIRE(n);
        REQUIRE(*n == bytes.size());
    };
    const Bytes frame = message(MessageKind::kResume, encode(Resume{}), 0);
    say(ByteView(frame).first(10));
    pulse.between_frames(false);
    std::this_thread::sleep_for(std::chrono::nanoseconds(kBusyNs + kBusyNs / 4));  // a word would be due
    say(ByteView(frame).subspan(10));
    pulse.between_frames(true);
    REQUIRE(kind_of(peer.receive()) == MessageKind::kResume);  // whole
    REQUIRE(kind_of(peer.receive()) == MessageKind::kHeartbeat);
    REQUIRE(kind_of(peer.receive()) == MessageKind::kHeartbeat);
}

TEST_CASE("a word that found no room is whole before anything else is sent") {
    Ends ends;
    // Room for a few bytes only: what is larger than the rest of a full socket goes in part.
    std::size_t filled = 0;
    const Bytes noise(4096, std::byte{7});
    for (;;) {
        const auto n = tcp_send(ends.here.get(), noise);
        if (!n) break;
        filled += *n;
    }
    Pulse pulse(ends.here.get(), [] { return kWord; });
    pulse.between_frames(true);
    std::this_thread::sleep_for(std::chrono::nanoseconds(kBusyNs + kBusyNs / 4));
    const Bytes frame = message(MessageKind::kResume, encode(Resume{}), 0);
    const auto blocked = pulse.send([&] { return tcp_send(ends.here.get(), frame); });
    REQUIRE_FALSE(blocked);
    REQUIRE(blocked.error().value() == EAGAIN);
    Bytes drained(filled);
    for (std::size_t got = 0; got < filled;) {
        const auto n = tcp_receive(ends.there.get(), std::span(drained).first(filled - got));
        REQUIRE(n);
        got += *n;
    }
    eventually([&] { return pulse.send([&] { return tcp_send(ends.here.get(), frame); }).has_value(); });
    RawPeer peer(std::move(ends.there));
    for (auto kind = MessageKind::kHeartbeat; kind == MessageKind::kHeartbeat;) {
        kind = kind_of(peer.receive());
        REQUIRE((kind == MessageKind::kHeartbeat || kind == MessageKind::kResume));
    }
}

TEST_CASE("a slave that is busy in a call of its replica is heard by the master") {
    BusyReplica replica(kFirst);
    SubscriberOptions options;
    options.port = "0";
    auto slave = Subscriber::listen(options, replica);
    REQUIRE(slave);
    (*slave)->start();
    const LetGo when_over(replica.may_go_on);
    RawPeer master((*slave)->bound_port());
    master.shake_hands(good_hello());
    REQUIRE(kind_of(master.receive()) == MessageKind::kHeartbeat);
    REQUIRE(kind_of(master.receive()) == MessageKind::kHeartbeat);
}

TEST_CASE("a master that is busy with a resync is heard by the slave") {
    TestJournal journal;
    std::promise<void> may_go_on;
    const std::shared_future<void> go_on(may_go_on.get_future());
    auto listening = tcp_listen("127.0.0.1", "0");
    REQUIRE(listening);
    PublisherOptions options;
    options.targets.push_back({"127.0.0.1", std::to_string(listening->port)});
    Publisher master(*journal, volume(), options,
                     [&](const ResyncScope& /*scope*/) { return std::make_unique<BusyResponder>(go_on); });
    master.start();
    const LetGo when_over(may_go_on);
    std::optional<RawPeer> slave;
    eventually([&] {
        if (auto peer = tcp_accept(listening->fd.get(), true)) slave.emplace(std::move(peer->fd));
        return slave.has_value();
    });
    REQUIRE(kind_of(slave->receive()) == MessageKind::kHello);
    FakeReplica fresh;
    slave->send(message(MessageKind::kWelcome, encode(*fresh.welcome(good_hello())), 0));
    REQUIRE(kind_of(slave->receive()) == MessageKind::kResyncStart);
    REQUIRE(kind_of(slave->receive()) == MessageKind::kHeartbeat);
    REQUIRE(kind_of(slave->receive()) == MessageKind::kHeartbeat);
}

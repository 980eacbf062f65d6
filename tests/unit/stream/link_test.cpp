// Publisher and subscriber over loopback sockets.
#include <sys/socket.h>

#include <thread>

#include "common/stream/tcp.hpp"
#include "tests/unit/stream/fixture.hpp"
#include "tests/unit/stream/memory_link.hpp"
#include "tests/unit/stream/raw_peer.hpp"

using namespace tdfs;
using namespace tdfs::test;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using Level = Publisher::Level;

namespace {

std::unique_ptr<Subscriber> slave_at(std::uint16_t port, ReplicaPort& replica) {
    SubscriberOptions options;
    options.port = std::to_string(port);
    auto listening = Subscriber::listen(options, replica);
    if (!listening) FAIL(listening.error());
    (*listening)->start();
    return std::move(*listening);
}

std::unique_ptr<Publisher> master_to(TestJournal& journal, const std::vector<std::uint16_t>& ports) {
    PublisherOptions options;
    options.name = "master in a test";
    for (const auto port : ports) options.targets.push_back({"127.0.0.1", std::to_string(port)});
    auto publisher = std::make_unique<Publisher>(*journal, volume(), options, responders(journal));
    publisher->start();
    return publisher;
}

std::string name_of(std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); }

}  // namespace

TEST_CASE("what is written while a replica follows is on it, byte for byte") {
    TestJournal journal(1 << 20);
    journal.write(200, 5000);
    FakeReplica replica(kFirst);
    const auto slave = slave_at(0, replica);
    const auto master = master_to(journal, {slave->bound_port()});
    for (int i = 0; i < 40; ++i) {
        journal.write(1 + static_cast<std::size_t>(i % 5) * 20, 1 + static_cast<std::size_t>(i) * 300);
        if (i % 10 == 0) REQUIRE(master->wait({}, journal->tail(), Level::kApplied, 60s));
    }
    REQUIRE(master->wait({name_of(slave->bound_port())}, journal->tail(), Level::kApplied, 60s));
    REQUIRE(replica.spool() == journal.all());
    REQUIRE(replica.overlaps() == 0);

    const auto status = master->status();
    REQUIRE(status.size() == 1);
    REQUIRE(status[0].state == PeerStatus::State::kStreaming);
    REQUIRE(status[0].name == "fake");
    REQUIRE(status[0].applied == journal->tail());
    REQUIRE(status[0].lag_bytes == 0);
    REQUIRE(status[0].lag_records == 0);
    REQUIRE(status[0].lag_seconds == 0);
    REQUIRE(status[0].connects == 1);
    REQUIRE(status[0].resyncs == 0);
    REQUIRE(status[0].bytes_sent > replica.spool().size());
    REQUIRE(master->slowest() == journal->tail());
    REQUIRE(slave->status().master == "master in a test");
}

TEST_CASE("a slave that comes later, goes and comes back is found each time") {
    TestJournal journal;
    journal.write(20, 500);
    const std::uint16_t port = free_port();
    const auto master = master_to(journal, {port});
    eventually([&] { return !master->status()[0].detail.empty(); });
    REQUIRE(master->status()[0].state == PeerStatus::State::kConnecting);
    REQUIRE_THAT(master->status()[0].detail, ContainsSubstring("is tdfs_slave running there?"));
    REQUIRE_FALSE(master->slowest());

    FakeReplica replica;
    auto slave = slave_at(port, replica);
    REQUIRE(master->wait({}, journal->tail(), Level::kReceived, 60s));
    for (int i = 0; i < 3; ++i) {
        slave->stop();
        slave.reset();
        journal.write(50, 700);
        slave = slave_at(port, replica);
        REQUIRE(master->wait({}, journal->tail(), Level::kReceived, 60s));
    }
    require_exact(journal, replica);
    REQUIRE(replica.resync_reasons().size() == 1);
    REQUIRE(master->status()[0].connects == 4);
    REQUIRE(master->status()[0].resyncs == 1);
}

TEST_CASE("a slave that reads nothing delays no other and costs the publisher no memory") {
    TestJournal journal(4 << 20);
    auto deaf_listener = tcp_listen("127.0.0.1", "0");
    REQUIRE(deaf_listener);
    FakeReplica replica(kFirst);
    const auto slave = slave_at(0, replica);
    const auto master = master_to(journal, {deaf_listener->port, slave->bound_port()});
    // The deaf one says that it is a streaming replica, and nothing after that.
    OwnFd deaf_fd;
    eventually([&] {
        auto peer = tcp_accept(deaf_listener->fd.get(), true);
        if (peer) deaf_fd = std::move(peer->fd);
        return static_cast<bool>(deaf_fd);
    });
    RawPeer deaf(std::move(deaf_fd));
    REQUIRE_FALSE(deaf.receive().empty());
    auto welcome = replica.welcome(good_hello());
    welcome->received = welcome->durable = welcome->applied = kFirst;
    deaf.send(message(MessageKind::kWelcome, encode(*welcome), 0));
    eventually([&] { return master->status()[0].state == PeerStatus::State::kStreaming; });

    journal.write(1000, 60'000);
    REQUIRE(master->wait({name_of(slave->bound_port())}, journal->tail(), Level::kApplied, 60s));
    REQUIRE(replica.spool() == journal.all());
    REQUIRE_FALSE(master->wait({}, journal->tail(), Level::kReceived, 0ms));
    REQUIRE(master->wait_for_count(1, journal->tail(), Level::kReceived, 0ms));
    const auto status = master->status();
    REQUIRE(status[0].lag_bytes == journal->tail() - kFirst);
    REQUIRE(status[0].lag_records > 800);
    REQUIRE(status[0].lag_seconds > 0);
}

TEST_CASE("a replica that holds back until the journal has dropped its position is resynced and exact") {
    TestJournal journal(2 << 20);
    FakeReplica replica(kFirst);
    const auto slave = slave_at(0, replica);
    const auto master = master_to(journal, {slave->bound_port()});
    eventually([&] { return master->status()[0].state == PeerStatus::State::kStreaming; });
    replica.set_accepts(false);
    journal.write(500, 60'000);  // more than all buffers on the way
    REQUIRE(journal->drop_before(journal->tail()));
    replica.set_accepts(true);
    eventually([&] { return replica.received() == journal->tail() && !replica.resync_reasons().empty(); });
    journal.write(10, 1000);
    REQUIRE(master->wait({}, journal->tail(), Level::kReceived, 60s));
    require_exact(journal, replica);
    REQUIRE(replica.resync_reasons().size() == 1);
    REQUIRE_THAT(replica.resync_reasons()[0], ContainsSubstring("is older than the journal"));
    REQUIRE(master->status()[0].connects == 1);
}

TEST_CASE("a refusal is shown in the words of the one who refuses") {
    TestJournal journal;
    FakeReplica replica(kFirst);
    replica.refuse_welcome("this replica belongs to somebody else");
    const auto slave = slave_at(0, replica);
    const auto master = master_to(journal, {slave->bound_port()});
    eventually([&] { return master->status()[0].state == PeerStatus::State::kRefused; });
    REQUIRE(master->status()[0].detail == "this replica belongs to somebody else");
    REQUIRE(slave->status().refused >= 1);
    REQUIRE_FALSE(master->slowest());
}

TEST_CASE("a replica that cannot take frames says so to the master before it closes") {
    TestJournal journal(2 << 20);
    journal.write(300, 60'000);
    FakeReplica replica(kFirst);
    replica.fail_receive("spool: No space left on device");
    const auto slave = slave_at(0, replica);
    const auto master = master_to(journal, {slave->bound_port()});
    eventually([&] { return master->status()[0].state == PeerStatus::State::kRefused; });
    REQUIRE(master->status()[0].detail == "spool: No space left on device");
}

TEST_CASE("stop returns while a target is silent, absent, or nowhere to be found") {
    TestJournal journal;
    auto silent = tcp_listen("127.0.0.1", "0");
    REQUIRE(silent);
    PublisherOptions options;
    options.targets = {{"127.0.0.1", std::to_string(silent->port)},
                       {"127.0.0.1", std::to_string(free_port())},
                       {"no-such-host.invalid", "4710"}};
    Publisher master(*journal, volume(), options, responders(journal));
    master.start();
    eventually([&] { return !master.status()[1].detail.empty(); });
    std::thread waits([&] { REQUIRE_FALSE(master.wait({}, kFirst, Level::kReceived, 1h)); });
    master.stop();
    waits.join();
}

TEST_CASE("waiting for a name that is no target fails at once") {
    TestJournal journal;
    PublisherOptions options;
    options.targets = {{"::1", "4711"}};
    Publisher master(*journal, volume(), options, responders(journal));
    REQUIRE(master.has_target("[::1]:4711"));
    REQUIRE_FALSE(master.has_target("::1"));
    REQUIRE_FALSE(master.wait({"nobody:1"}, kFirst, Level::kReceived, 1h));
    REQUIRE_FALSE(master.wait({"[::1]:4711", "nobody:1"}, Lsn(), Level::kReceived, 1h));
}

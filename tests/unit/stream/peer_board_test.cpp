#include "common/stream/peer_board.hpp"

#include <thread>

#include "tests/support/catch.hpp"

using namespace tdfs;
using namespace std::chrono_literals;
using Level = Publisher::Level;

namespace {

PeerStatus at(const std::string& target, std::uint64_t received, std::uint64_t durable, std::uint64_t applied) {
    PeerStatus s;
    s.target = target;
    s.received = Lsn(received);
    s.durable = Lsn(durable);
    s.applied = Lsn(applied);
    return s;
}

}  // namespace

TEST_CASE("each level looks at its own position") {
    PeerBoard board({"a:1"});
    board.put(0, at("a:1", 30, 20, 10), true, true, 1);
    REQUIRE(board.wait({}, 1, Lsn(30), Level::kReceived, 0ms));
    REQUIRE(board.wait({}, 1, Lsn(20), Level::kDurable, 0ms));
    REQUIRE(board.wait({}, 1, Lsn(10), Level::kApplied, 0ms));
    REQUIRE_FALSE(board.wait({}, 1, Lsn(31), Level::kReceived, 0ms));
    REQUIRE_FALSE(board.wait({}, 1, Lsn(21), Level::kDurable, 0ms));
    REQUIRE_FALSE(board.wait({}, 1, Lsn(11), Level::kApplied, 0ms));
    REQUIRE(board.slowest() == Lsn(10));
}

TEST_CASE("a peer whose position is not known is nowhere, one that lost its link is where it was") {
    PeerBoard board({"a:1", "b:2"});
    REQUIRE_FALSE(board.slowest());
    board.put(0, at("a:1", 30, 30, 30), false, false, 1);
    board.put(1, at("b:2", 30, 30, 30), true, false, 1);
    REQUIRE_FALSE(board.wait({}, 2, Lsn(1), Level::kReceived, 0ms));
    REQUIRE_FALSE(board.wait({"a:1"}, 1, Lsn(1), Level::kReceived, 0ms));
    REQUIRE(board.wait({"b:2"}, 1, Lsn(30), Level::kReceived, 0ms));
    REQUIRE(board.wait({}, 1, Lsn(30), Level::kReceived, 0ms));
    REQUIRE_FALSE(board.slowest());
    REQUIRE(board.has("a:1"));
    REQUIRE_FALSE(board.has("a:2"));
}

TEST_CASE("who waits is woken by the position that is enough, and by close") {
    PeerBoard board({"a:1"});
    std::thread moves([&] {
        for (std::uint64_t i = 1; i <= 100; ++i) board.put(0, at("a:1", i, i, i), true, true, i);
    });
    REQUIRE(board.wait({}, 1, Lsn(100), Level::kApplied, std::chrono::milliseconds::max()));
    moves.join();
    std::thread closes([&] { board.close(); });
    REQUIRE_FALSE(board.wait({}, 1, Lsn(101), Level::kApplied, 1h));
    closes.join();
}

TEST_CASE("what enough peers have confirmed is what the slowest of the fastest has") {
    PeerBoard board({"a:1", "b:2", "c:3"});
    board.put(0, at("a:1", 30, 20, 25), true, true, 1);
    board.put(1, at("b:2", 90, 80, 70), true, true, 1);
    REQUIRE(board.confirmed_by(1, Level::kReceived) == Lsn(90));
    REQUIRE(board.confirmed_by(2, Level::kReceived) == Lsn(30));
    REQUIRE(board.confirmed_by(2, Level::kDurable) == Lsn(20));
    REQUIRE(board.confirmed_by(1, Level::kApplied) == Lsn(70));
    REQUIRE(board.confirmed_by(2, Level::kApplied) == Lsn(20));  // applied, but not durable further than that
    REQUIRE(board.confirmed_by(3, Level::kReceived) == Lsn());   // one is nowhere
    board.put(1, at("b:2", 90, 80, 70), false, true, 1);
    REQUIRE(board.confirmed_by(2, Level::kReceived) == Lsn());
}

TEST_CASE("an entry says whether a position moved with it") {
    PeerBoard board({"a:1"});
    REQUIRE(board.put(0, at("a:1", 30, 20, 10), true, true, 1));
    REQUIRE_FALSE(board.put(0, at("a:1", 30, 20, 10), true, true, 2));
    REQUIRE(board.put(0, at("a:1", 30, 21, 10), true, true, 3));
    REQUIRE_FALSE(board.put(0, at("a:1", 30, 22, 10), false, true, 4));
}

// May these two talk, and how does the replica catch up: every case.
#include "common/stream/position.hpp"

#include "proto/record.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs;
using Catch::Matchers::ContainsSubstring;

namespace {

const Epoch kA(0xa), kB(0xb), kC(0xc);
const std::vector<EpochStart> kHistory{{kA, Lsn(100)}, {kB, Lsn(200)}, {kC, Lsn(300)}};

VolumeId some_volume(unsigned char n = 1) {
    VolumeId id;
    id.bytes[15] = std::byte{n};
    return id;
}

Welcome at(Epoch epoch, std::uint64_t received, ReplicaState state = ReplicaState::kStreaming) {
    Welcome w;
    w.format = format_hash();
    w.volume = some_volume();
    w.epoch = epoch;
    w.received = Lsn(received);
    w.state = state;
    return w;
}

CatchUp decide(const Welcome& w, std::uint64_t oldest = 100, std::uint64_t tail = 400) {
    return catch_up({kHistory, Lsn(oldest), Lsn(tail)}, w);
}

}  // namespace

TEST_CASE("a position on the history and inside the journal is resumed in the current epoch") {
    for (const auto& [epoch, lsn] : std::vector<std::pair<Epoch, std::uint64_t>>{
             {kA, 100}, {kA, 150}, {kA, 200}, {kB, 200}, {kB, 300}, {kC, 300}, {kC, 399}, {kC, 400}}) {
        for (const auto state : {ReplicaState::kStreaming, ReplicaState::kStalled}) {
            const auto plan = decide(at(epoch, lsn, state));
            REQUIRE(plan.resume.has_value());
            REQUIRE(*plan.resume == Position{kC, Lsn(lsn)});
            REQUIRE(plan.reason.empty());
        }
    }
}

TEST_CASE("a position off the history is a fork") {
    for (const auto& [epoch, lsn] : std::vector<std::pair<Epoch, std::uint64_t>>{
             {kA, 99}, {kA, 201}, {kB, 199}, {kB, 301}, {kC, 299}, {kC, 401}, {Epoch(0xd), 150}, {Epoch(), 150}}) {
        const auto plan = decide(at(epoch, lsn));
        REQUIRE_FALSE(plan.resume.has_value());
        REQUIRE_THAT(plan.reason, ContainsSubstring("its history forked"));
    }
    REQUIRE_FALSE(catch_up({{}, Lsn(100), Lsn(400)}, at(kA, 100)).resume.has_value());
}

TEST_CASE("two epochs that begin at the same place have that place in common") {
    const std::vector<EpochStart> history{{kA, Lsn(100)}, {kB, Lsn(200)}, {kC, Lsn(200)}};
    REQUIRE(catch_up({history, Lsn(100), Lsn(400)}, at(kB, 200)).resume.has_value());
    REQUIRE_FALSE(catch_up({history, Lsn(100), Lsn(400)}, at(kB, 201)).resume.has_value());
}

TEST_CASE("a position before the oldest byte of the journal is resynced") {
    REQUIRE(decide(at(kA, 150), 150).resume.has_value());
    const auto plan = decide(at(kA, 149), 150);
    REQUIRE_FALSE(plan.resume.has_value());
    REQUIRE(plan.reason == "position 149 is older than the journal (oldest 150)");
}

TEST_CASE("states that are no prefix are resynced wherever they stand") {
    for (const std::uint64_t lsn : {0, 100, 350, 400, 999}) {
        REQUIRE(decide(at(kC, lsn, ReplicaState::kFresh)).reason == "fresh replica");
        REQUIRE(decide(at(kC, lsn, ReplicaState::kResyncing)).reason.starts_with("an earlier resync was not finished"));
        REQUIRE(decide(at(kC, lsn, ReplicaState::kDamaged)).reason ==
                "its spool or its state is damaged (its log says where)");
        for (const auto state : {ReplicaState::kFresh, ReplicaState::kResyncing, ReplicaState::kDamaged}) {
            REQUIRE_FALSE(decide(at(kC, lsn, state)).resume.has_value());
        }
    }
    Welcome no_volume = at(kC, 350);
    no_volume.volume = VolumeId{};
    REQUIRE(decide(no_volume).reason == "fresh replica");
}

TEST_CASE("after a resync that was cut off, what changed since it began is compared by content") {
    Welcome cut = at(kC, 0, ReplicaState::kResyncing);
    const auto plan = [&](std::uint64_t began, std::uint64_t oldest = 100) {
        cut.durable = Lsn(began);
        return decide(cut, oldest);
    };
    REQUIRE(plan(350).since == Lsn(350));
    REQUIRE_FALSE(plan(350).full);
    // What changed is not known any more: everything.
    for (const auto& p : {plan(350, 351), plan(401), plan(299)}) {
        REQUIRE(p.full);
        REQUIRE_FALSE(p.since.has_value());
    }
}

TEST_CASE("a replica that lost what came after a position is compared in what was recorded since") {
    Welcome lost = at(kC, 0, ReplicaState::kDamaged);
    const auto plan = [&](std::uint64_t durable, std::uint64_t oldest = 100) {
        lost.durable = Lsn(durable);
        return decide(lost, oldest);
    };
    REQUIRE(plan(350).since == Lsn(350));
    REQUIRE_FALSE(plan(350).full);
    REQUIRE_FALSE(plan(350).resume.has_value());
    REQUIRE(plan(350).reason == "what changed after position 350 may be lost there");
    // Not known, not in the journal, not yet written here, of another epoch: everything.
    for (const auto& p : {plan(0), plan(350, 351), plan(401), plan(299)}) {
        REQUIRE(p.full);
        REQUIRE_FALSE(p.since.has_value());
    }
    lost.epoch = kB;
    REQUIRE(plan(250).full);
}

TEST_CASE("a replica is refused for its version, its format or its volume only") {
    const VolumeId ours = some_volume();
    REQUIRE_FALSE(refuse_replica(ours, at(kC, 1)));
    Welcome w = at(kC, 1);
    w.version = 7;
    REQUIRE_THAT(*refuse_replica(ours, w), ContainsSubstring("protocol version 7"));
    w = at(kC, 1);
    w.format ^= 1;
    REQUIRE_THAT(*refuse_replica(ours, w), ContainsSubstring("same version of tdfs"));
    for (const auto state : {ReplicaState::kFresh, ReplicaState::kStreaming, ReplicaState::kResyncing,
                             ReplicaState::kStalled, ReplicaState::kDamaged}) {
        w = at(kC, 1, state);
        REQUIRE_FALSE(refuse_replica(ours, w));
        w.volume = some_volume(2);
        REQUIRE_THAT(*refuse_replica(ours, w), ContainsSubstring(some_volume(2).text()));
        w.volume = VolumeId{};
        REQUIRE_FALSE(refuse_replica(ours, w));  // it has none yet
    }
}

TEST_CASE("a master is refused for its version, its format, and when it names no volume or epoch") {
    Hello hello;
    hello.format = format_hash();
    hello.volume = some_volume();
    hello.history = kHistory;
    REQUIRE_FALSE(refuse_master(hello));
    Hello h = hello;
    h.version = 2;
    REQUIRE_THAT(*refuse_master(h), ContainsSubstring("the master speaks protocol version 2"));
    h = hello;
    h.format ^= 1;
    REQUIRE(refuse_master(h));
    h = hello;
    h.volume = VolumeId{};
    REQUIRE(refuse_master(h));
    h = hello;
    h.history.clear();
    REQUIRE(refuse_master(h));
}

#include "slave/spool_syncer.hpp"

#include "tests/unit/slave/spool_fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

constexpr std::uint32_t kNotByItself = 3'600'000;

struct Syncing {
    TempDir dir;
    ReplayBench bench{dir.dir("replica"), dir.dir("state")};
    std::atomic<int> told{0};
    std::atomic<bool> failed{false};
    SpoolSyncer syncer;

    explicit Syncing(std::uint32_t every_ms)
        : syncer(bench.spool(), every_ms, {[this] { ++told; }, [this](const std::string&) { failed = true; }}) {}
    [[nodiscard]] bool durable() { return bench.spool().durable() == bench.spool().tail(); }
};

}  // namespace

TEST_CASE("what was received becomes durable by itself") {
    Syncing w(10);
    w.syncer.start();
    w.bench.receive(file_at("f"));
    w.syncer.received();
    wait_until([&] { return w.durable() && w.told > 0; });
    CHECK(w.bench.state().durable_point().lsn == Lsn(0));  // the spool alone
    CHECK_FALSE(w.failed);
}

TEST_CASE("a sync that the master asks for does not wait for its turn") {
    Syncing w(kNotByItself);
    w.syncer.start();
    w.bench.receive(SyncRecord{});
    w.syncer.received();
    w.syncer.request_sync();
    wait_until([&] { return w.durable() && w.told == 1; });
    CHECK(w.syncer.syncs() == 1);
}

TEST_CASE("many requests that come before it runs are one sync") {
    Syncing w(kNotByItself);
    for (int i = 0; i < 100; ++i) {
        w.bench.receive(SyncRecord{});
        w.syncer.request_sync();
    }
    w.syncer.start();
    wait_until([&] { return w.durable() && w.told > 0; });
    CHECK(w.syncer.syncs() == 1);
}

TEST_CASE("durability that somebody else brought about is told all the same") {
    Syncing w(kNotByItself);
    w.bench.receive(SyncRecord{});
    REQUIRE(w.bench.spool().sync(w.bench.spool().tail()));
    w.syncer.request_sync();
    w.syncer.start();
    wait_until([&] { return w.told == 1; });
    CHECK(w.syncer.syncs() == 0);
}

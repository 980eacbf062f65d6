#include "master/retention.hpp"

#include "tests/support/catch.hpp"

using namespace tdfs;

TEST_CASE("history that a slave has not read is kept up to the limit and not beyond") {
    const RetentionLimits limits{1000, 100};
    CHECK(retention_floor(Lsn(0), Lsn(900), Lsn(50), limits) == Lsn(50));
    CHECK(retention_floor(Lsn(0), Lsn(5000), Lsn(50), limits) == Lsn(4000));
    CHECK(retention_floor(Lsn(0), Lsn(5000), std::nullopt, limits) == Lsn(4000));
    CHECK(retention_floor(Lsn(0), Lsn(500), std::nullopt, limits) == Lsn(0));
}

TEST_CASE("a little history is kept even where every slave has read it") {
    const RetentionLimits limits{1000, 100};
    CHECK(retention_floor(Lsn(0), Lsn(900), Lsn(900), limits) == Lsn(800));
    CHECK(retention_floor(Lsn(850), Lsn(900), Lsn(900), limits) == Lsn(850));
}

TEST_CASE("how much of its history a slave has left is known in bytes, in age, and when it is over") {
    RetentionLimits limits{1000, 100};
    PeerStatus peer;
    CHECK_FALSE(history_use(peer, Lsn(0), Lsn(500), limits).known);
    peer.position_known = true;
    peer.received = Lsn(200);
    HistoryUse use = history_use(peer, Lsn(0), Lsn(950), limits);
    CHECK(use.known);
    CHECK_FALSE(use.lost);
    CHECK(use.percent == 75);
    CHECK(use.left_bytes == 250);
    limits.retain_age = std::chrono::seconds(100);
    peer.lag_seconds = 90;
    CHECK(history_use(peer, Lsn(0), Lsn(950), limits).percent == 90);
    use = history_use(peer, Lsn(300), Lsn(950), limits);
    CHECK(use.lost);
    CHECK(use.left_bytes == 0);
    CHECK(use.percent == 100);
    CHECK(history_use(peer, Lsn(0), Lsn(100), limits).left_bytes == 1000);  // ahead of the tail: a new epoch
}

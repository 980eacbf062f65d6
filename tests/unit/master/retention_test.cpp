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

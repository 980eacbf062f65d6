#include "common/stream/lag.hpp"

#include "common/os/file.hpp"
#include "common/stream/rate.hpp"
#include "tests/unit/stream/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;

TEST_CASE("lag counts the records, not the void frames, over segments") {
    TestJournal journal;
    journal.write(700, 200);  // every seventh is void; several segments
    const Lag all = measure_lag(*journal, kFirst, journal->tail());
    REQUIRE(all.records == 600);
    REQUIRE(all.exact);
    REQUIRE(all.oldest_time_ns > 0);
    REQUIRE(all.oldest_time_ns <= wall_clock_ns());
    const Lag none = measure_lag(*journal, journal->tail(), journal->tail());
    REQUIRE(none.records == 0);
    REQUIRE(none.oldest_time_ns == 0);
}

TEST_CASE("lag of large frames is exact too, looking at headers only") {
    TestJournal journal(4 << 20);
    journal.write(70, 100'000);
    const Lag lag = measure_lag(*journal, kFirst, journal->tail());
    REQUIRE(lag.records == 60);
    REQUIRE(lag.exact);
}

TEST_CASE("a very long lag is estimated from its beginning") {
    TestJournal journal(16 << 20);
    journal.write(3000, 20'000);
    const Lag lag = measure_lag(*journal, kFirst, journal->tail());
    REQUIRE_FALSE(lag.exact);
    REQUIRE(lag.records > 2000);
    REQUIRE(lag.records < 3000);
}

TEST_CASE("lag of what the journal does not hold any more is nothing, not an error") {
    TestJournal journal;
    journal.write(100, 3000);
    REQUIRE(journal->drop_before(journal->tail()));
    const Lag lag = measure_lag(*journal, kFirst, journal->tail());
    REQUIRE(lag.records == 0);
    REQUIRE(lag.oldest_time_ns == 0);
}

TEST_CASE("a rate is that of the last seconds") {
    RateMeter meter;
    REQUIRE(meter.per_second(kSecondNs, 0) == 0);
    for (std::uint64_t s = 1; s <= 20; ++s) meter.add(s * kSecondNs, s * 1000);
    REQUIRE(meter.per_second(20 * kSecondNs, 20'000) == 1000);
    REQUIRE(meter.per_second(25 * kSecondNs, 20'000) == 0);
    REQUIRE(meter.per_second(19 * kSecondNs, 20'000) >= 0);
    meter.add(30 * kSecondNs, 10);  // began anew
    REQUIRE(meter.per_second(31 * kSecondNs, 20) == 10);
}

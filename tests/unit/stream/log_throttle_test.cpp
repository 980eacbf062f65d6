#include "common/stream/log_throttle.hpp"

#include "tests/support/catch.hpp"

using namespace tdfs;

TEST_CASE("an address is worth one line a minute for each kind of trouble") {
    LogThrottle throttle;
    const std::uint64_t t = 5'000'000'000;
    REQUIRE(throttle.worth_a_line("10.0.0.1", "garbage", t));
    REQUIRE_FALSE(throttle.worth_a_line("10.0.0.1", "garbage", t + 1));
    REQUIRE(throttle.worth_a_line("10.0.0.1", "timeout", t + 1));
    REQUIRE(throttle.worth_a_line("10.0.0.2", "garbage", t + 1));
    REQUIRE_FALSE(throttle.worth_a_line("10.0.0.1", "garbage", t + LogThrottle::kQuietNs - 1));
    REQUIRE(throttle.worth_a_line("10.0.0.1", "garbage", t + LogThrottle::kQuietNs));
}

TEST_CASE("a million addresses take the memory of a few") {
    LogThrottle throttle;
    for (std::uint64_t i = 0; i < 5000; ++i) {
        static_cast<void>(throttle.worth_a_line("host " + std::to_string(i), "garbage", i));
        REQUIRE(throttle.size() <= LogThrottle::kMaxEntries);
    }
    REQUIRE_FALSE(throttle.worth_a_line("host 4999", "garbage", 5000));
}

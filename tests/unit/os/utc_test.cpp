#include "common/os/utc.hpp"

#include <limits>

#include "tests/support/catch.hpp"

using namespace tdfs;

TEST_CASE("a time is told in UTC, to the second or to the microsecond") {
    CHECK(utc_text(0) == "1970-01-01T00:00:00Z");
    CHECK(utc_text(1'769'903'999'999'999'999) == "2026-01-31T23:59:59Z");
    CHECK(utc_text_micros(1'769'903'999'000'012'999) == "2026-01-31T23:59:59.000012Z");
    CHECK(utc_text(std::numeric_limits<std::uint64_t>::max()) == "2554-07-21T23:34:33Z");
}

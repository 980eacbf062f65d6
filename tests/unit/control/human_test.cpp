// Numbers as people read them.
#include "common/control/human.hpp"

#include <limits>

#include "tests/support/catch.hpp"

using namespace tdfs;

TEST_CASE("bytes have three digits at most and the right unit") {
    CHECK(human_bytes(0) == "0 B");
    CHECK(human_bytes(1023) == "1023 B");
    CHECK(human_bytes(1024) == "1.0 KiB");
    CHECK(human_bytes(10'188) == "9.9 KiB");
    CHECK(human_bytes(10'189) == "10 KiB");
    CHECK(human_bytes(1024 * 1024 - 1) == "1.0 MiB");
    CHECK(human_bytes(35ULL << 20) == "35 MiB");
    CHECK(human_bytes(5ULL << 40) == "5.0 TiB");
    CHECK(human_bytes(~0ULL) == "16 EiB");
}

TEST_CASE("a rate is a dash where nothing moves") {
    CHECK(human_rate(0) == "-");
    CHECK(human_rate(0.5) == "-");
    CHECK(human_rate(2048) == "2.0 KiB/s");
    CHECK(human_rate(std::numeric_limits<double>::quiet_NaN()) == "-");
    CHECK(human_rate(std::numeric_limits<double>::infinity()) == "-");
}

TEST_CASE("seconds become minutes, hours and days") {
    CHECK(human_seconds(0) == "0.0 s");
    CHECK(human_seconds(0.26) == "0.3 s");
    CHECK(human_seconds(45.2) == "45 s");
    CHECK(human_seconds(59.6) == "1 min 0 s");
    CHECK(human_seconds(200) == "3 min 20 s");
    CHECK(human_seconds(7500) == "2 h 5 min");
    CHECK(human_seconds(100 * 3600) == "4 d 4 h");
    CHECK(human_seconds(-1) == "?");
    CHECK(human_seconds(std::numeric_limits<double>::infinity()) == "?");
}

TEST_CASE("a bar is as long as it should be, whatever the share") {
    CHECK(progress_bar(0, 10) == "[..........]");
    CHECK(progress_bar(0.55, 10) == "[#####.....]");
    CHECK(progress_bar(1, 10) == "[##########]");
    CHECK(progress_bar(7, 4) == "[####]");
    CHECK(progress_bar(-7, 4) == "[....]");
}

TEST_CASE("the width of a text counts characters and not bytes") {
    CHECK(shown_width("abc") == 3);
    CHECK(shown_width("caf\xc3\xa9") == 4);
    CHECK(shown_width("") == 0);
}

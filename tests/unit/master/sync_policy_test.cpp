#include "master/sync_policy.hpp"

#include "tests/support/catch.hpp"

using namespace tdfs;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("--sync says how many slaves and at which level") {
    SyncPolicy p;
    REQUIRE(parse_sync("2", 3, p));
    CHECK(p.slaves == 2);
    CHECK(p.level == Publisher::Level::kDurable);
    REQUIRE(parse_sync("1:received", 3, p));
    CHECK(p.level == Publisher::Level::kReceived);
    REQUIRE(parse_sync("3:applied", 3, p));
    CHECK(p.level == Publisher::Level::kApplied);
    CHECK(p.slaves == 3);
}

TEST_CASE("--sync-timeout says how long and what then") {
    SyncPolicy p;
    REQUIRE(parse_sync_timeout("30", p));
    CHECK(p.timeout == std::chrono::seconds(30));
    CHECK(p.late == SyncPolicy::Late::kDegrade);
    REQUIRE(parse_sync_timeout("0.5:block", p));
    CHECK(p.timeout == std::chrono::milliseconds(500));
    CHECK(p.late == SyncPolicy::Late::kBlock);
}

TEST_CASE("what --sync and --sync-timeout do not understand is named") {
    SyncPolicy p;
    for (const char* text : {"", "0", "-1", "x", "1x", "1:", "1:soon", ":durable"}) {
        const auto parsed = parse_sync(text, 3, p);
        REQUIRE_FALSE(parsed);
        CHECK_THAT(parsed.error(), ContainsSubstring("--sync " + std::string(text)));
    }
    CHECK_THAT(parse_sync("4", 3, p).error(), ContainsSubstring("-c names 3"));
    for (const char* text : {"", "0", "-1", "nan", "inf", "1e3", "90000", "1:", "1:wait", ":block"}) {
        const auto parsed = parse_sync_timeout(text, p);
        INFO(text);
        REQUIRE_FALSE(parsed);
        CHECK_THAT(parsed.error(), ContainsSubstring("--sync-timeout " + std::string(text)));
    }
}

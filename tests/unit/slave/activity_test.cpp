#include "slave/activity.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "common/os/file.hpp"
#include "tests/unit/slave/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

std::int64_t in_seconds(std::int64_t n) { return static_cast<std::int64_t>(wall_clock_ns()) + n * kSecondNs; }

struct Log {
    TempDir dir;
    OwnFd fd = open_dir(dir.path());
    std::unique_ptr<ActivityLog> open(std::uint64_t root = 1) const { return need(ActivityLog::open(fd.get(), root)); }
};

}  // namespace

TEST_CASE("before the replica is known to be the daemon's work nothing is somebody else's") {
    const Log log;
    const auto activity = log.open();
    CHECK(!activity->is_foreign(in_seconds(-100)));
    CHECK(!activity->is_foreign(in_seconds(100)));
}

TEST_CASE("what was changed in a second in which the daemon did nothing is somebody else's, also after a restart") {
    const Log log;
    for (int run = 0; run < 2; run++) {
        const auto activity = log.open();
        activity->begin();
        CHECK(!activity->is_foreign(in_seconds(0)));
        CHECK(!activity->is_foreign(in_seconds(-100)));  // before the beginning
        CHECK(activity->is_foreign(in_seconds(5)));
        CHECK(activity->is_foreign(in_seconds(50'000)));
    }
}

TEST_CASE("a change that takes long is the daemon's own in each of its seconds, also while it goes on") {
    const Log log;
    const auto activity = log.open();
    activity->begin();
    const auto from = in_seconds(0);
    const auto later_by = [&](std::int64_t n) { return from + n * kSecondNs; };
    const auto wait_until = [&](std::int64_t ns) {
        while (static_cast<std::int64_t>(wall_clock_ns()) < ns) ::usleep(10'000);
    };
    {
        const ActivityLog::Span at_work(activity.get());
        wait_until(later_by(2));
        activity->mark();
        CHECK(!activity->is_foreign(later_by(1)));
        wait_until(later_by(4));
    }
    for (int second = 0; second <= 4; ++second) CHECK(!activity->is_foreign(later_by(second)));
    wait_until(later_by(7));
    activity->mark();  // nothing was under way in between
    CHECK(activity->is_foreign(later_by(5) + kSecondNs / 2));
}

TEST_CASE("after a power loss all since the last word on the disk counts as the daemon's own, up to the boot") {
    const Log log;
    {
        const auto activity = log.open();
        activity->begin();
        activity->mark();
        CHECK(!activity->upkeep());
    }
    const auto activity = log.open();
    activity->went_down(static_cast<std::uint64_t>(in_seconds(100)));
    CHECK(!activity->is_foreign(in_seconds(0)));
    CHECK(!activity->is_foreign(in_seconds(50)));
    CHECK(activity->is_foreign(in_seconds(200)));
}

TEST_CASE("where the clock says that the boot came before, all up to now is the daemon's own") {
    const Log log;
    {
        const auto activity = log.open();
        activity->begin();
    }
    const auto activity = log.open();
    activity->went_down(0);
    CHECK(!activity->is_foreign(in_seconds(0)));
    CHECK(activity->is_foreign(in_seconds(50)));
}

TEST_CASE("a power loss after an orderly end leaves nothing in doubt") {
    const Log log;
    {
        const auto activity = log.open();
        activity->begin();
        activity->close();
    }
    const auto activity = log.open();
    activity->went_down(static_cast<std::uint64_t>(in_seconds(100)));
    CHECK(activity->is_foreign(in_seconds(50)));
}

TEST_CASE("a copy of a replica and a damaged file begin anew") {
    const Log log;
    log.open()->begin();
    {
        const auto activity = log.open(2);
        CHECK(!activity->is_foreign(in_seconds(0)));
        CHECK(activity->is_foreign(in_seconds(5)));
    }
    const auto file = open_at(log.fd.get(), "activity", O_RDWR);
    REQUIRE(file);
    REQUIRE(write_all(file->get(), as_bytes("damaged"), 16));
    const auto activity = log.open(2);
    CHECK(!activity->is_foreign(in_seconds(-2)));
    CHECK(activity->is_foreign(in_seconds(5)));
}

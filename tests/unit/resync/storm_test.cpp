// Programs go on changing the tree while it is resynced: in the end the trees are equal in all respects.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "proto/path.hpp"
#include "tests/unit/resync/fixture.hpp"
#include "tests/unit/resync/mutator.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

struct Storm {
    unsigned busy = 3;  // operations between two messages, at most
    bool full = false;
    bool copy_first = false;
    std::uint32_t max_rounds = 12;
    std::size_t steps = 150;  // then the programs rest
};

void run_storm(std::uint64_t seed, const Storm& storm) {
    INFO("TDFS_SEED=" << seed);
    Master master;
    const TempDir replica;
    Mutator programs(master, seed);
    std::mt19937_64 random(seed ^ 0x5eed);
    for (int i = 0; i < 60; ++i) programs.step();
    programs.flush();
    if (storm.copy_first) {
        const std::string copy = "cp -a '" + master.dir.path().string() + "/.' '" + replica.path().string() + "'";
        REQUIRE(std::system(copy.c_str()) == 0);
        for (int i = 0; i < 20; ++i) programs.step();
        programs.flush();
    }
    std::size_t left = storm.steps;
    const auto work = [&] {
        if (master.hold.held) return;
        for (auto n = random() % (storm.busy + 1); n > 0 && left > 0; --n, --left) programs.step();
    };
    master.hold.before_hold = [&] { programs.flush(); };
    Course course;
    course.full = storm.full;
    course.limits.last_round_paths = 10;
    course.limits.last_round_bytes = 100'000;
    course.limits.max_rounds = storm.max_rounds;
    course.limits.hold_limit_ms = 60'000;
    course.between = work;
    course.before_answer = [&](MessageKind) { work(); };
    const auto outcome = resync(master, replica, course);
    CHECK(outcome.failed == "");
    CHECK(outcome.refused == "");
    REQUIRE(outcome.finished);
    CHECK(differences(master, replica) == "");
    CHECK(std::filesystem::is_empty(replica.path() / std::string(kStagePath)));
}

int seeds() {
    const char* n = std::getenv("TDFS_SEEDS");
    return n != nullptr ? std::atoi(n) : 6;
}

void run_all(const Storm& storm) {
    const auto seed = seed_of_run();
    for (int i = 0; i < seeds(); ++i) {
        run_storm(seed + static_cast<std::uint64_t>(i), storm);
    }
}

}  // namespace

TEST_CASE("programs that change everything while an empty replica is filled") { run_all({}); }

TEST_CASE("programs that change everything while a copy is brought up to date") {
    Storm storm;
    storm.copy_first = true;
    run_all(storm);
}

TEST_CASE("programs that change everything while all content is compared") {
    Storm storm;
    storm.copy_first = true;
    storm.full = true;
    run_all(storm);
}

TEST_CASE("programs that never rest are held after the last round at the latest") {
    Storm storm;
    storm.busy = 6;
    storm.steps = ~std::size_t{0};
    storm.max_rounds = 3;
    run_all(storm);
}

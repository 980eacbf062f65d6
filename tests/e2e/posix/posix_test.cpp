// Every operation on the mount answers as on a plain directory beside it, and what it did is on the replicas afterwards.

#include <set>
#include <string>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/posix/probe.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/tree_compare.hpp"

using namespace tdfs::e2e;

namespace {

void compare_all_cases(Cluster& cluster, const std::set<std::string>& left_out = {}) {
    for (const Case& one : all_cases()) {
        if (left_out.count(one.name) != 0) continue;
        for (const Who who : {Who::kRoot, Who::kUser}) {
            const std::string plain = run_case(one, who, cluster.plain());
            const std::string mount = run_case(one, who, cluster.mount());
            INFO(one.name << (who == Who::kRoot ? " as root" : " as a user"));
            CHECK(transcript_differences(plain, mount) == "");
            CHECK(plain.find("cannot prepare") == std::string::npos);
        }
    }
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(tdfs::test::tree_differences(cluster.plain(), cluster.mount(), {.holes = false, .times = false}) == "");
}

}  // namespace

TEST_CASE("operations answer as on a plain directory, with one slave") {
    Cluster cluster;
    compare_all_cases(cluster);
}

TEST_CASE("operations answer as on a plain directory, with three slaves and compression") {
    Cluster cluster({.slaves = 3, .compress = true});
    compare_all_cases(cluster);
}

TEST_CASE("operations answer as on a plain directory, mounted over the backing directory") {
    Cluster cluster({.over = true});
    compare_all_cases(cluster);
    cluster.stop_master();
    CHECK(cluster.differences() == "");
}

TEST_CASE("with --writeback operations answer as on a plain directory, but for what the kernel does by itself then") {
    Cluster cluster({.master_args = {"--writeback"}});
    // Holes are data, and a truncation to the same size moves no times: the README says so. The cases are about that, or would
    // read a hole of a tebibyte.
    compare_all_cases(cluster, {"holes", "large", "reading and writing", "moving times", "unlinked but open"});
    cluster.stop_master();
    CHECK(cluster.differences() == "");
}

// The judge itself: two plain directories must agree, so that what differs above is the mount's doing.
TEST_CASE("the cases answer alike on two plain directories") {
    Scratch scratch;
    const std::string left = scratch.dir("left"), right = scratch.dir("right");
    for (const Case& one : all_cases()) {
        for (const Who who : {Who::kRoot, Who::kUser}) {
            const std::string first = run_case(one, who, left);
            INFO(one.name << (who == Who::kRoot ? " as root" : " as a user") << "\n" << first.substr(0, 2000));
            CHECK(transcript_differences(first, run_case(one, who, right)) == "");
            CHECK(first.find("cannot prepare") == std::string::npos);
        }
    }
    CHECK(tdfs::test::tree_differences(left, right, {.holes = false, .times = false}) == "");
}

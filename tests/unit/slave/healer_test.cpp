// Records that a foreign change stands against, and where inspections meet the replay.
#include "slave/healer.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "slave/replay_gates.hpp"
#include "tests/unit/slave/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

ApplyError failure(int e, bool refused = false) { return {"unlink", Errno(e), refused}; }

}  // namespace

TEST_CASE("only what a foreign tree answers with is left to a repair") {
    const TempDir dir;
    const auto state = open_dir(dir.path());
    Healer healer(state.get());
    for (const int e : {ENOSPC, EIO, EROFS, EACCES, EDQUOT, ETXTBSY})
        CHECK(healer.judge(unlink_of("f"), Lsn(1), failure(e)) == Verdict::kRetry);
    CHECK(healer.judge(unlink_of("f"), Lsn(1), failure(ENOENT, true)) == Verdict::kRetry);
    CHECK(healer.judge(unlink_of(".tdfs/stage/x"), Lsn(1), failure(ENOENT)) == Verdict::kRetry);
    CHECK(healer.status().paths.empty());
    for (const int e : {ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY})
        CHECK(healer.judge(unlink_of("f"), Lsn(1), failure(e)) == Verdict::kLeaveOut);
    CHECK(healer.status().paths.size() == 1);
}

TEST_CASE("any failure is left to a repair while no more names than tolerated stand to be repaired") {
    const TempDir dir;
    const auto state = open_dir(dir.path());
    Healer healer(state.get(), 2);
    CHECK(healer.judge(unlink_of("f"), Lsn(1), failure(EIO)) == Verdict::kLeaveOut);
    CHECK(healer.judge(rename_of("a", "b"), Lsn(2), failure(EIO)) == Verdict::kRetry);  // two more
    CHECK(healer.judge(unlink_of("g"), Lsn(3), failure(ENOSPC)) == Verdict::kLeaveOut);
    CHECK(healer.judge(unlink_of("f"), Lsn(4), failure(EROFS)) == Verdict::kLeaveOut);  // stands there already
    CHECK(healer.judge(unlink_of("h"), Lsn(5), failure(EIO)) == Verdict::kRetry);
    CHECK(healer.judge(unlink_of("h"), Lsn(5), failure(ENOENT)) == Verdict::kLeaveOut);  // a foreign change always is
    CHECK(healer.judge(unlink_of("i"), Lsn(6), failure(EIO, true)) == Verdict::kRetry);
    CHECK(healer.since() == Lsn(1));
    CHECK(healer.status().paths == std::vector<std::string>{"f", "g", "h"});
    CHECK(healer.status().text == "being repaired: f, g, h");
    REQUIRE(healer.order(1));
    healer.finished("", 2);
    CHECK(healer.judge(unlink_of("h"), Lsn(7), failure(EIO)) == Verdict::kLeaveOut);
}

TEST_CASE("more names than are repaired one by one make it a matter of everything, a broken disk does not") {
    const TempDir dir;
    const auto state = open_dir(dir.path());
    Healer healer(state.get(), 2 * Healer::kMaxPaths);
    for (std::size_t i = 0; i < Healer::kMaxPaths; i++)
        REQUIRE(healer.judge(unlink_of(std::to_string(i)), Lsn(i), failure(ENOENT)) == Verdict::kLeaveOut);
    CHECK(healer.judge(unlink_of("7"), Lsn(5000), failure(ENOENT)) == Verdict::kLeaveOut);  // stands there already
    CHECK(healer.judge(unlink_of("x"), Lsn(5001), failure(EIO)) == Verdict::kRetry);
    CHECK(healer.judge(unlink_of("x"), Lsn(5002), failure(ENOENT)) == Verdict::kResync);
    CHECK_FALSE(healer.has("x"));
}

TEST_CASE("what is to be repaired outlives the process, with the position that can be claimed") {
    const TempDir dir;
    const auto state = open_dir(dir.path());
    {
        Healer healer(state.get());
        REQUIRE(healer.judge(rename_of("a", "b/c"), Lsn(500), failure(ENOENT)) == Verdict::kLeaveOut);
        REQUIRE(healer.judge(unlink_of("d"), Lsn(900), failure(ENOENT)) == Verdict::kLeaveOut);
    }
    Healer again(state.get());
    need(again.load());
    CHECK(again.status().paths.size() == 3);
    CHECK(again.since() == Lsn(500));
    const auto order = again.order(1);
    REQUIRE(order);
    CHECK(order->repair);
    CHECK(order->full);
    CHECK(order->paths == std::vector<std::string>{"a", "b/c", "d"});
    CHECK_FALSE(again.order(1));  // it is under way
    again.finished("", 2);
    CHECK(again.status().paths.empty());
    Healer none(state.get());
    need(none.load());
    CHECK(none.status().paths.empty());
}

TEST_CASE("no flipped bit of the file repairs makes other paths of it, and a comparison of everything takes it away") {
    const TempDir dir;
    const auto state = open_dir(dir.path());
    {
        Healer healer(state.get());
        REQUIRE(healer.judge(rename_of("a", "b/c"), Lsn(500), failure(ENOENT)) == Verdict::kLeaveOut);
    }
    const std::string good = get(dir / "repairs");
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
        std::string flipped = good;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        put(dir / "repairs", flipped);
        CAPTURE(bit);
        REQUIRE_FALSE(Healer(state.get()).load());
    }
    for (std::size_t size = 0; size < good.size(); ++size) {
        put(dir / "repairs", good.substr(0, size));
        CAPTURE(size);
        REQUIRE_FALSE(Healer(state.get()).load());
    }
    Healer healer(state.get());
    REQUIRE_FALSE(healer.load());
    healer.clear();
    need(Healer(state.get()).load());
}

TEST_CASE("a name that cannot be saved does not take away one that is") {
    const TempDir dir;
    const auto state = open_dir(dir.path());
    Healer healer(state.get());
    REQUIRE(healer.judge(unlink_of("a"), Lsn(500), failure(ENOENT)) == Verdict::kLeaveOut);
    REQUIRE(::mkdir((dir / "repairs.new").c_str(), 0700) == 0);  // stands in the way of the next file
    CHECK(healer.judge(rename_of("a", "b"), Lsn(600), failure(ENOENT)) == Verdict::kRetry);
    CHECK(healer.status().paths.size() == 1);
    REQUIRE(::rmdir((dir / "repairs.new").c_str()) == 0);
    const auto order = healer.order(1);
    REQUIRE(order);
    CHECK(order->paths == std::vector<std::string>{"a"});
}

TEST_CASE("what fails again during its repair is repaired again, and a repair that fails is tried again later") {
    const TempDir dir;
    const auto state = open_dir(dir.path());
    Healer healer(state.get());
    REQUIRE(healer.judge(unlink_of("a"), Lsn(1), failure(ENOENT)) == Verdict::kLeaveOut);
    REQUIRE(healer.judge(unlink_of("b"), Lsn(2), failure(ENOENT)) == Verdict::kLeaveOut);
    REQUIRE(healer.order(1));
    REQUIRE(healer.judge(unlink_of("b"), Lsn(3), failure(ENOENT)) == Verdict::kLeaveOut);
    healer.finished("", 2);
    CHECK(healer.status().paths.size() == 1);
    REQUIRE(healer.order(3));
    healer.finished("no space", 10);
    CHECK_FALSE(healer.order(11));
    CHECK_THAT(healer.status().text, Catch::Matchers::ContainsSubstring("no space"));
    CHECK(healer.order(10'000'000'000));
    healer.finished("", 10'000'000'001);
    CHECK(healer.status().text.empty());
}

TEST_CASE("a look takes place at exactly its position, once, and who comes too late is told") {
    ReplayGates gates;
    int looks = 0;
    int missed = 0;
    const auto late = [&] { ++missed; };
    CHECK_FALSE(gates.due(Lsn(1'000'000)));
    gates.meet(Lsn(300), {[&] { return ++looks == 1; }, late});
    gates.meet(Lsn(200), {[&] { return ++looks > 100; }, late});
    CHECK_FALSE(gates.due(Lsn(199)));
    CHECK(gates.due(Lsn(200)));
    CHECK_FALSE(gates.pass(Lsn(200)));
    CHECK(looks == 1);
    CHECK_FALSE(gates.due(Lsn(299)));
    CHECK(missed == 0);
    CHECK_FALSE(gates.pass(Lsn(301)));  // beyond
    CHECK(looks == 1);
    CHECK(missed == 1);
    gates.meet(Lsn(250), {[&] { return ++looks > 0; }, late});
    CHECK(gates.due(Lsn(301)));  // at once, not when the replay moves on
    CHECK_FALSE(gates.pass(Lsn(301)));
    CHECK(missed == 2);
    gates.meet(Lsn(400), {[&] { return ++looks > 0; }, late});
    gates.clear();
    CHECK_FALSE(gates.due(Lsn(400)));
    gates.meet(Lsn(500), {[&] { return ++looks > 0; }, late});
    CHECK(gates.pass(Lsn(500)));
}

TEST_CASE("every inspection hears of all names that moved since it began") {
    ReplayGates gates;
    const int one = 1, other = 2;
    gates.applied(rename_of("before", "all"));
    gates.watch(&one);
    gates.applied(rename_of("a", "b"));
    gates.watch(&other);
    gates.applied(exchange_of("c", "d"));
    gates.applied(link_of("e", "f"));
    gates.applied(unlink_of("g"));
    CHECK(gates.take_moved(&one).names == std::vector<std::string>{"b", "c", "d", "f"});
    CHECK(gates.take_moved(&one).names.empty());
    CHECK(gates.take_moved(&other).names == std::vector<std::string>{"c", "d", "f"});
    for (std::size_t i = 0; i <= ReplayGates::kMaxMoved; ++i) gates.applied(rename_of("x", "n" + std::to_string(i)));
    CHECK(gates.take_moved(&one).all);
    gates.unwatch(&one);
    CHECK(gates.take_moved(&one).names.empty());
}

#include "slave/brake.hpp"

#include "tests/unit/slave/spool_fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

DeleteLimit limit(const char* text) {
    const auto parsed = parse_delete_limit(text);
    REQUIRE(parsed);
    return *parsed;
}

std::uint64_t no_objects(std::uint64_t) { return 0; }
std::string some() { return "some"; }

std::unique_ptr<Brake> open_brake(const TempDir& dir, const std::optional<DeleteLimit>& l = {}) {
    static std::vector<OwnFd> kept;
    kept.push_back(open_dir(dir.path()));
    return need(Brake::open(kept.back().get(), l, no_objects));
}

}  // namespace

TEST_CASE("a delete limit is read from its text") {
    CHECK(limit("1000/60").text() == "1000/60");
    CHECK(limit("0/1").count == 0);
    CHECK(limit("5%").text() == "5%/3600");
    CHECK(limit("0.5%/600").text() == "0.5%/600");
    for (const char* bad : {"", "5", "/", "5/", "/5", "%", "%/5", "0%", "101%", "-1/5", "5/-1", "5/0", "x/5", "5/x",
                            "5%%", "1e9/5", "nan%", "5/99999999999"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_delete_limit(bad));
    }
}

TEST_CASE("deletions are counted over a window that moves with them") {
    DeleteCount count(limit("3/64"), no_objects);
    CHECK(count.admit(100 * kSecond, 1));
    CHECK(count.admit(110 * kSecond, 1));
    CHECK(count.admit(120 * kSecond, 1));
    CHECK_FALSE(count.admit(163 * kSecond, 1));
    CHECK(count.admit(166 * kSecond, 1));  // the first is out of it
    CHECK_FALSE(count.admit(166 * kSecond, 1));
    CHECK_FALSE(count.admit(500 * kSecond, 4));
    CHECK(count.admit(500 * kSecond, 3));
    CHECK(count.counted() == 3);
}

TEST_CASE("a share is one of the objects before the deletions, which are counted only as far as it matters") {
    std::uint64_t objects = 100;
    std::uint64_t looks = 0;
    DeleteCount count(limit("10%"), [&](std::uint64_t enough) {
        ++looks;
        return std::min(enough, objects);
    });
    for (int i = 0; i < 10; ++i) {
        REQUIRE(count.admit(kSecond, 1));
        --objects;
    }
    CHECK_FALSE(count.admit(kSecond, 1));
    CHECK(looks < 8);
}

TEST_CASE("what is paused stays so over restarts, until it is released") {
    const TempDir dir;
    {
        const auto brake = open_brake(dir);
        CHECK_FALSE(brake->paused());
        CHECK(brake->text() == "");
        need(brake->pause());
    }
    {
        const auto brake = open_brake(dir);
        CHECK(brake->paused());
        CHECK_THAT(brake->text(), ContainsSubstring("paused since 2") && ContainsSubstring("tdfsctl resume"));
        need(brake->resume(Lsn(5)));
        CHECK_FALSE(brake->paused());
    }
    CHECK_FALSE(open_brake(dir)->paused());
}

TEST_CASE("no flipped bit of the pause file releases a replica") {
    const TempDir dir;
    need(open_brake(dir)->pause());
    const std::string good = get(dir / "pause");
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
        std::string flipped = good;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        put(dir / "pause", flipped);
        CAPTURE(bit);
        REQUIRE(open_brake(dir)->paused());
    }
}

TEST_CASE("a release lets through what had been received, and what comes later is counted anew") {
    const TempDir dir;
    auto brake = open_brake(dir, limit("1/3600"));
    CHECK(brake->admit(unlink_of("a"), Lsn(10), kSecond, some));
    CHECK_FALSE(brake->admit(unlink_of("b"), Lsn(20), kSecond, some));
    CHECK(brake->paused());
    CHECK_THAT(brake->text(),
               ContainsSubstring("1/3600") && ContainsSubstring("unlink b") && ContainsSubstring("some were waiting"));
    need(brake->resume(Lsn(40)));
    brake = open_brake(dir, limit("1/3600"));
    CHECK(brake->admit(unlink_of("b"), Lsn(20), kSecond, some));
    CHECK(brake->admit(unlink_of("c"), Lsn(30), kSecond, some));
    CHECK(brake->admit(unlink_of("d"), Lsn(40), kSecond, some));
    CHECK_FALSE(brake->admit(unlink_of("e"), Lsn(50), kSecond, some));
}

TEST_CASE("a pause by hand releases no deletions") {
    const TempDir dir;
    const auto brake = open_brake(dir, limit("0/3600"));
    need(brake->pause());
    need(brake->resume(Lsn(100)));
    CHECK_FALSE(brake->admit(unlink_of("a"), Lsn(10), kSecond, some));
}

TEST_CASE("unlink, rmdir and a rename onto something are deletions, and nothing else is") {
    RenameRecord over;
    over.path = "a";
    over.new_path = "b";
    CHECK_FALSE(is_deletion(over));
    over.replaced = ObjectId{1, 2};
    CHECK(is_deletion(over));
    over.exchange = true;
    CHECK_FALSE(is_deletion(over));
    RmdirRecord dir;
    dir.path = "d";
    CHECK(is_deletion(dir));
    CHECK(is_deletion(unlink_of("a")));
    CHECK_FALSE(is_deletion(unlink_of(".tdfs/stage/x")));
    CHECK_FALSE(is_deletion(SyncRecord{}));
    CreateRecord made;
    made.path = "a";
    CHECK_FALSE(is_deletion(made));
}

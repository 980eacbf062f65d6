#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <thread>

#include "tests/unit/slave/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

std::unique_ptr<AppliedState> open_state(const TempDir& dir, const std::string& boot = "boot-1") {
    const OwnFd fd = open_dir(dir.path());
    return need(AppliedState::open(fd.get(), boot));
}

}  // namespace

TEST_CASE("a new applied state knows no position") {
    const TempDir dir;
    const auto state = open_state(dir);
    CHECK(state->found() == AppliedState::Found::kNothing);
    CHECK_FALSE(state->valid());
}

TEST_CASE("the applied position outlives the process") {
    const TempDir dir;
    {
        const auto state = open_state(dir);
        need(state->reset({Lsn(100), 5, 0}));
        state->advance(Lsn(150), 6);
        state->advance(Lsn(220), 7);
        state->start(Lsn(220), {11, 12});
    }
    const auto state = open_state(dir);
    CHECK(state->found() == AppliedState::Found::kThisBoot);
    CHECK(state->point().lsn == Lsn(220));
    CHECK(state->point().time_ns == 7);
    CHECK(state->point().count == 2);
    REQUIRE(state->started(Lsn(220)));
    CHECK(state->started(Lsn(220))->ino == 11);
    CHECK(state->started(Lsn(220))->other_ino == 12);
    CHECK_FALSE(state->started(Lsn(221)));
    CHECK_FALSE(state->started(Lsn(0)));
}

TEST_CASE("a note at lsn 0 is a note") {
    const TempDir dir;
    const auto state = open_state(dir);
    need(state->reset({}));
    CHECK_FALSE(state->started(Lsn(0)));
    state->start(Lsn(0), {});
    CHECK(state->started(Lsn(0)));
    state->clear_started(Lsn(1));
    CHECK(state->started(Lsn(0)));
    state->clear_started(Lsn(0));
    CHECK_FALSE(state->started(Lsn(0)));
}

TEST_CASE("after another boot only the checkpoint counts") {
    const TempDir dir;
    {
        const auto state = open_state(dir, "boot-1");
        need(state->reset({Lsn(100), 5, 0}));
        state->advance(Lsn(200), 6);
        need(state->checkpoint(state->point()));
        state->advance(Lsn(300), 7);
        state->start(Lsn(300), {1, 2});
    }
    const auto state = open_state(dir, "boot-2");
    CHECK(state->found() == AppliedState::Found::kEarlierBoot);
    REQUIRE(state->valid());
    CHECK(state->point().lsn == Lsn(200));
    CHECK(state->point().count == 1);
    CHECK_FALSE(state->started(Lsn(300)));
}

TEST_CASE("an invalidated state knows no position, in this boot or another") {
    const TempDir dir;
    {
        const auto state = open_state(dir);
        need(state->reset({Lsn(100), 5, 0}));
        need(state->invalidate());
    }
    CHECK_FALSE(open_state(dir)->valid());
    CHECK_FALSE(open_state(dir, "boot-2")->valid());
}

TEST_CASE("a damaged state file is not believed") {
    const TempDir dir;
    {
        const auto state = open_state(dir);
        need(state->reset({Lsn(100), 5, 0}));
    }
    SECTION("cut off") { REQUIRE(::truncate((dir / "applied").c_str(), 10) == 0); }
    SECTION("overwritten") { put(dir / "applied", std::string(4096, 'x')); }
    const auto state = open_state(dir);
    CHECK(state->found() == AppliedState::Found::kUnusable);
    CHECK_FALSE(state->valid());
}

TEST_CASE("no flipped bit of the state file makes another position or note of it") {
    const TempDir dir;
    {
        const auto state = open_state(dir);
        need(state->reset({Lsn(100), 5, 0}));
        state->advance(Lsn(200), 6);
        state->advance(Lsn(333), 7);
        state->start(Lsn(333), {11, 12});
    }
    const std::string good = get(dir / "applied");
    int refused = 0;
    for (std::size_t bit = 0; bit < 320 * 8; ++bit) {
        const auto in_byte = bit % 8;  // three of each will do: opening a damaged one syncs it
        if (in_byte != 0 && in_byte != 3 && in_byte != 7) continue;
        std::string flipped = good;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        put(dir / "applied", flipped);
        CAPTURE(bit);
        const auto state = open_state(dir);
        if (!state->valid()) {
            ++refused;
            continue;
        }
        if (state->found() == AppliedState::Found::kEarlierBoot) {  // its boot id was flipped: the checkpoint is told
            REQUIRE(state->point().lsn == Lsn(100));
            continue;
        }
        REQUIRE(state->point().lsn == Lsn(333));
        REQUIRE(state->point().count == 2);
        REQUIRE(state->started(Lsn(333)));
        REQUIRE(state->started(Lsn(333))->other_ino == 12);
    }
    CHECK(refused > 200);
}

TEST_CASE("what is done ahead of the position outlives the process, until the position is there") {
    const TempDir dir;
    {
        const auto state = open_state(dir);
        need(state->reset({Lsn(100), 5, 0}));
        CHECK_FALSE(state->is_ahead_of(Lsn(100)));
        state->begin_ahead(Lsn(500));
        CHECK(state->is_ahead_of(Lsn(100)));
        state->start(Lsn(100), {1, 2}, 1);
        state->start(Lsn(200), {3, 4}, kMostWorkers);
        state->mark_done(Lsn(200));
        state->mark_done(Lsn(300));
        state->start(Lsn(400), {5, 6}, kMostWorkers);
    }
    for (int again = 0; again < 2; ++again) {  // opening it takes nothing away
        const auto state = open_state(dir);
        REQUIRE(state->found() == AppliedState::Found::kThisBoot);
        CHECK(state->point().lsn == Lsn(100));
        CHECK(state->is_done(Lsn(200)));
        CHECK(state->is_done(Lsn(300)));
        CHECK_FALSE(state->is_done(Lsn(100)));
        CHECK_FALSE(state->is_done(Lsn(400)));
        REQUIRE(state->started(Lsn(100)));
        CHECK(state->started(Lsn(100))->other_ino == 2);
        REQUIRE(state->started(Lsn(400)));
        CHECK(state->started(Lsn(400))->ino == 5);
        CHECK(
            state->is_ahead_of(Lsn(499)));  // what may be repeated has neither note nor mark, and may be there in part
        CHECK_FALSE(state->is_ahead_of(Lsn(500)));
    }
    const auto state = open_state(dir);
    state->clear_started(Lsn(400));
    CHECK_FALSE(state->started(Lsn(400)));
    CHECK(state->started(Lsn(100)));
    for (const std::uint64_t end : {200u, 300u, 400u, 500u}) state->advance(Lsn(end), end);
    CHECK_FALSE(state->is_ahead_of(Lsn(500)));
    CHECK_FALSE(open_state(dir)->is_ahead_of(Lsn(500)));
}

TEST_CASE("a new position has nothing done ahead of it") {
    const TempDir dir;
    const auto state = open_state(dir);
    need(state->reset({Lsn(100), 5, 0}));
    state->begin_ahead(Lsn(500));
    state->start(Lsn(200), {1, 2}, 3);
    state->mark_done(Lsn(200));
    SECTION("after a resync") {
        need(state->invalidate());
        need(state->reset({Lsn(100), 5, 0}));
    }
    SECTION("anew") { need(state->reset({Lsn(100), 5, 0})); }
    CHECK_FALSE(state->is_done(Lsn(200)));
    CHECK_FALSE(open_state(dir)->is_done(Lsn(200)));
    CHECK_FALSE(open_state(dir)->started(Lsn(200)));
}

TEST_CASE("programs that know of no marks read the state file, but not while there are any") {
    constexpr std::size_t kVersionAt = 8;
    const TempDir dir;
    const auto version = [&] { return get(dir / "applied")[kVersionAt]; };
    const auto state = open_state(dir);
    need(state->reset({Lsn(100), 5, 0}));
    CHECK(version() == 2);
    state->begin_ahead(Lsn(300));
    CHECK(version() == 3);
    state->mark_done(Lsn(200));
    state->advance(Lsn(200), 6);
    CHECK(version() == 3);
    state->advance(Lsn(300), 7);
    CHECK(version() == 2);
}

TEST_CASE("no flipped bit makes a record done that is not, or a note of a worker another one") {
    const TempDir dir;
    {
        const auto state = open_state(dir);
        need(state->reset({Lsn(100), 5, 0}));
        state->begin_ahead(Lsn(500));
        state->start(Lsn(300), {11, 12}, 1);
        state->mark_done(Lsn(200));
    }
    const std::string good = get(dir / "applied");
    std::size_t looked = 0;
    for (std::size_t byte = 0; byte < good.size(); ++byte) {
        if (good[byte] == 0) continue;
        ++looked;
        std::string flipped = good;
        flipped[byte] = static_cast<char>(flipped[byte] ^ 2);
        put(dir / "applied", flipped);
        CAPTURE(byte);
        const auto state = open_state(dir);
        if (state->found() != AppliedState::Found::kThisBoot) continue;
        REQUIRE(state->is_done(Lsn(200)));
        REQUIRE_FALSE(state->is_done(Lsn(300)));
        if (const auto note = state->started(Lsn(300))) REQUIRE(note->other_ino == 12);
    }
    CHECK(looked > 40);
}

TEST_CASE("what happens to the state file while it is open changes nothing that is told") {
    const TempDir dir;
    const auto state = open_state(dir);
    need(state->reset({Lsn(100), 5, 0}));
    state->advance(Lsn(200), 6);
    std::fstream file(dir / "applied", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(64);
    file << std::string(300, '\xff');
    file.close();
    CHECK(state->valid());
    CHECK(state->point().lsn == Lsn(200));
    CHECK(state->durable_point().lsn == Lsn(100));
}

TEST_CASE("a checkpoint that does not verify after a power loss is not believed") {
    const TempDir dir;
    {
        const auto state = open_state(dir);
        need(state->reset({Lsn(100), 5, 0}));
    }
    std::string bytes = get(dir / "applied");
    const std::string value("\x64\0\0\0\0\0\0\0\x05", 9);  // lsn 100, then time 5
    auto at = bytes.find(value);
    REQUIRE(at != std::string::npos);
    for (; at != std::string::npos; at = bytes.find(value, at + 1)) bytes[at] = 'e';
    put(dir / "applied", bytes);
    const auto state = open_state(dir, "boot-2");
    CHECK(state->found() == AppliedState::Found::kUnusable);
    CHECK_FALSE(state->valid());
}

TEST_CASE("what the disk has of a step of the replay takes nothing from the checkpoint") {
    const TempDir dir;
    {
        const auto state = open_state(dir);
        need(state->reset({Lsn(100), 5, 0}));
        state->advance(Lsn(200), 6);
        state->start(Lsn(200), {0x1122334455667788, 12});
    }
    std::string bytes = get(dir / "applied");
    const std::string value("\xc8\0\0\0\0\0\0\0\x06", 9);  // the position, then its time
    const std::string note("\x88\x77\x66\x55\x44\x33\x22\x11", 8);
    for (const std::string& word : {value, note}) {
        const auto at = bytes.find(word);
        REQUIRE(at != std::string::npos);
        bytes[at] = 'e';
    }
    put(dir / "applied", bytes);
    SECTION("after a power loss") {
        const auto state = open_state(dir, "boot-2");
        CHECK(state->found() == AppliedState::Found::kEarlierBoot);
        REQUIRE(state->valid());
        CHECK(state->point().lsn == Lsn(100));
        CHECK_FALSE(state->started(Lsn(100)));
    }
    SECTION("in the same boot it is damage") { CHECK(open_state(dir)->found() == AppliedState::Found::kUnusable); }
}

TEST_CASE("readers see whole moments only") {
    const TempDir dir;
    const auto state = open_state(dir);
    need(state->reset({Lsn(0), 0, 0}));
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> mixed{0};
    std::thread reader([&] {
        while (!stop) {
            const auto p = state->point();
            if (p.lsn.bytes() != p.count * 7 || p.time_ns != p.count * 3) ++mixed;
        }
    });
    for (std::uint64_t i = 1; i <= 200'000; ++i) state->advance(Lsn(i * 7), i * 3);
    stop = true;
    reader.join();
    CHECK(mixed == 0);
}

TEST_CASE("a kill at any moment leaves a whole moment") {
    const TempDir dir;
    { need(open_state(dir)->reset({})); }
    for (int round = 0; round < 20; ++round) {
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            const auto state = open_state(dir);
            for (auto i = state->point().count + 1;; ++i) state->advance(Lsn(i * 7), i * 3);
        }
        ::usleep(static_cast<useconds_t>(500 + 137 * round));
        ::kill(child, SIGKILL);
        REQUIRE(::waitpid(child, nullptr, 0) == child);
        const auto p = open_state(dir)->point();
        CHECK(p.lsn.bytes() == p.count * 7);
        CHECK(p.time_ns == p.count * 3);
    }
}

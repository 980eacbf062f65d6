// Hard links: groups of the replica end up exactly as the master's are, whatever stood there and whatever happens.
#include "common/resync/links.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>

#include "common/os/file.hpp"
#include "tests/unit/resync/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;
namespace fs = std::filesystem;

namespace {

void set_time(const fs::path& path) {
    const std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, timespec{1000, 0}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) == 0);
}

ObjectId id(const Master& master, const std::string& name) {
    const auto info = stat_at(master.dir.fd(), name);
    REQUIRE(info);
    return info->object;
}

}  // namespace

TEST_CASE("names are made one inode, and one inode is broken apart") {
    Master master;
    const TempDir replica;
    const auto& m = master.dir.path();
    const auto& r = replica.path();
    // Master: {a b} {c d} e f; replica: {a c e} {b d} and f, all of the same size and time.
    write_file(m / "a", "1");
    write_file(m / "c", "2");
    write_file(m / "e", "3");
    write_file(m / "f", "4");
    fs::create_hard_link(m / "a", m / "b");
    fs::create_hard_link(m / "c", m / "d");
    write_file(r / "a", "1");
    fs::create_hard_link(r / "a", r / "c");
    fs::create_hard_link(r / "a", r / "e");
    write_file(r / "b", "2");
    fs::create_hard_link(r / "b", r / "d");
    write_file(r / "f", "4");
    for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
        set_time(m / name);
        set_time(r / name);
    }
    CHECK(resync(master, replica).finished);
    CHECK(differences(master, replica) == "");
}

TEST_CASE("a group that exists is kept, and the file is fetched once") {
    Master master;
    const TempDir replica;
    const auto& m = master.dir.path();
    write_file(m / "a", std::string(100'000, 'x'));
    fs::create_directory(m / "d");
    for (int i = 0; i < 20; ++i) fs::create_hard_link(m / "a", m / "d" / std::to_string(i));
    const auto first = resync(master, replica);
    CHECK(first.counts.fetched_files == 1);
    CHECK(first.counts.fetched_bytes == 100'000);
    CHECK(differences(master, replica) == "");
    const auto second = resync(master, replica);
    CHECK(second.counts.metadata == 0);
    CHECK(second.counts.fetched_files == 0);
}

TEST_CASE("a change made under a name that is gone reaches the object's other names") {
    Master master;
    const TempDir replica;
    const auto& m = master.dir.path();
    write_file(m / "x", "before");
    fs::create_hard_link(m / "x", m / "y");
    for (int i = 0; i < 30; ++i) write_file(m / ("z" + std::to_string(i)), "z");
    set_time(m / "x");
    Course course;
    course.limits.last_round_paths = 0;
    course.limits.max_rounds = 4;
    int asked = 0;
    course.between = [&] {
        if (++asked != 20) return;
        const auto object = id(master, "x");
        write_file(m / "x", "AFTER!");
        set_time(m / "x");
        REQUIRE(::chmod((m / "x").c_str(), 0604) == 0);
        master.journal.add(WriteRecord{object, "x", 0, as_bytes("AFTER!")});
        AttributesRecord mode;
        mode.object = object;
        mode.path = "x";
        mode.valid = AttributesRecord::kMode;
        master.journal.add(mode);
        fs::remove(m / "x");
        master.journal.add(UnlinkRecord{object, "x"});
    };
    CHECK(resync(master, replica, course).finished);
    CHECK(differences(master, replica) == "");
}

TEST_CASE("twins that are exchanged while they are resynced are told apart by content") {
    Master master;
    const TempDir replica;
    const auto& m = master.dir.path();
    for (const char* d : {"one", "two"}) {
        fs::create_directory(m / d);
        write_file(m / d / "same size", d);
        set_time(m / d / "same size");
    }
    Course course;
    bool exchanged = false;
    course.see = [&](MessageKind kind, ByteView) {
        if (kind != MessageKind::kRoundDone || exchanged) return;
        exchanged = true;
        const auto one = id(master, "one");
        const auto two = id(master, "two");
        REQUIRE(::renameat2(AT_FDCWD, (m / "one").c_str(), AT_FDCWD, (m / "two").c_str(), RENAME_EXCHANGE) == 0);
        master.journal.add(RenameRecord{one, two, "one", "two", true});
    };
    CHECK(resync(master, replica, course).finished);
    CHECK(differences(master, replica) == "");
}

TEST_CASE("groups end with their last name, and an inode number is free again") {
    LinkGroups links;
    links.bind({1, 1}, 50, "a/x");
    links.add_name(*links.find({1, 1}), "a/y");
    links.add_name(*links.find({1, 1}), "b");
    CHECK(links.is_bound(50));
    links.drop_within("a");
    REQUIRE(links.find({1, 1}) != nullptr);
    CHECK(links.find({1, 1})->names.size() == 1);
    links.drop_name("b");
    CHECK(links.find({1, 1}) == nullptr);
    CHECK_FALSE(links.is_bound(50));

    auto& building = links.begin_building({2, 1}, "c");
    building.waiting.push_back("d");
    CHECK(links.built(building, 50) == std::vector<std::string>{"d"});
    CHECK(links.find({2, 1})->names.count("c") == 1);
    links.bind({3, 1}, 50, "e");  // the replica was changed behind our back
    CHECK(links.find({2, 1}) == nullptr);
    CHECK(links.find({3, 1})->ino == 50);

    auto& lost = links.begin_building({4, 1}, "f");
    lost.waiting.push_back("g");
    CHECK(links.give_up(lost) == std::vector<std::string>{"g"});
    CHECK(links.size() == 1);
}

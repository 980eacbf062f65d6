// A replica becomes equal to a master that rests: from nothing, from a copy, from a mess, from a resync that was cut
// off.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "common/os/file.hpp"
#include "proto/path.hpp"
#include "tests/unit/resync/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;
namespace fs = std::filesystem;

namespace {

std::string noise(std::size_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::string out(n, '\0');
    for (auto& c : out) c = static_cast<char>(random());
    return out;
}

OwnFd open_file(const std::string& path, int flags) {
    OwnFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0644));
    REQUIRE(fd);
    return fd;
}

void overwrite(const std::string& path, std::uint64_t offset, const std::string& text) {
    REQUIRE(write_all(open_file(path, O_WRONLY).get(), as_bytes(text), offset));
}

void set_time(const std::string& path, time_t seconds, long ns) {
    const std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, timespec{seconds, ns}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) == 0);
}

void copy(const Master& master, const TempDir& replica, const std::string& flags = "-a") {
    const std::string command =
        "cp " + flags + " '" + master.dir.path().string() + "/.' '" + replica.path().string() + "'";
    REQUIRE(std::system(command.c_str()) == 0);
}

// A POSIX ACL as the kernel takes it: user::rwx, user:5:r--, group::r-x, mask::rwx, other::r--.
std::string acl() {
    const auto entry = [](std::uint16_t tag, std::uint16_t perm, std::uint32_t id) {
        std::string out(8, '\0');
        std::memcpy(out.data(), &tag, 2);
        std::memcpy(out.data() + 2, &perm, 2);
        std::memcpy(out.data() + 4, &id, 4);
        return out;
    };
    const std::uint32_t none = 0xffffffff;
    const std::uint32_t version = 2;
    std::string out(4, '\0');
    std::memcpy(out.data(), &version, 4);
    return out + entry(0x01, 7, none) + entry(0x02, 4, 5) + entry(0x04, 5, none) + entry(0x10, 7, none) +
           entry(0x20, 4, none);
}

void sparse_file(const std::string& path) {
    const auto fd = open_file(path, O_RDWR | O_CREAT);
    REQUIRE(::ftruncate(fd.get(), 3'000'001) == 0);
    REQUIRE(write_all(fd.get(), as_bytes(noise(5000, 1)), 4096));
    REQUIRE(write_all(fd.get(), as_bytes(noise(300'000, 2)), 1 << 20));
    REQUIRE(write_all(fd.get(), as_bytes(std::string(8192, '\0')), 2 << 20));  // zeros that are no hole
}

// One of everything.
void build_zoo(const Master& m) {
    const auto p = [&](const std::string& name) { return m.path(name); };
    write_file(p("plain"), noise(1000, 3));
    write_file(p("empty"), "");
    write_file(p("big"), noise(5'000'000, 4));
    sparse_file(p("sparse"));
    REQUIRE(::truncate((write_file(p("all hole"), ""), p("all hole")).c_str(), 700'000) == 0);
    fs::create_directories(p("dir/sub/empty"));
    write_file(p("dir/sub/file"), "x");
    fs::create_symlink("../anywhere/\xff", p("symlink"));
    REQUIRE(::mkfifo(p("fifo").c_str(), 0620) == 0);
    write_file(p("linked"), "several names");
    fs::create_hard_link(p("linked"), p("dir/also linked"));
    fs::create_hard_link(p("linked"), p("dir/sub/and here"));
    fs::create_hard_link(p("symlink"), p("dir/symlink too"));
    fs::create_hard_link(p("fifo"), p("dir/fifo too"));
    write_file(p(std::string("not utf-8 \xc3\x28\xff\n\t")), "y");
    write_file(p(std::string(255, 'n')), "z");
    write_file(p("with attributes"), "a");
    REQUIRE(::setxattr(p("with attributes").c_str(), "user.some", "value\0more", 10, 0) == 0);
    REQUIRE(::setxattr(p("with attributes").c_str(), "user.empty", "", 0, 0) == 0);
    REQUIRE(::setxattr(p("dir").c_str(), "user.dir", "d", 1, 0) == 0);
    write_file(p("with acl"), "a");
    if (::setxattr(p("with acl").c_str(), "system.posix_acl_access", acl().data(), acl().size(), 0) == 0) {
        REQUIRE(::setxattr(p("dir/sub").c_str(), "system.posix_acl_default", acl().data(), acl().size(), 0) == 0);
        write_file(p("dir/sub/inherits"), "i");
        fs::create_directory(p("dir/sub/inherits too"));
    }
    write_file(p("old"), "before 1970");
    set_time(p("old"), -5, 999'999'999);
    set_time(p("symlink"), 12345, 6789);
    if (::geteuid() == 0) {
        write_file(p("setuid"), "s");
        REQUIRE(::chown(p("setuid").c_str(), 12, 34) == 0);
        REQUIRE(::chmod(p("setuid").c_str(), 06755) == 0);
        REQUIRE(::lchown(p("symlink").c_str(), 56, 78) == 0);
        REQUIRE(::chown(p("dir").c_str(), 65534, 65533) == 0);
        REQUIRE(::mknod(p("char").c_str(), S_IFCHR | 0600, ::makedev(1, 3)) == 0);
        REQUIRE(::mknod(p("block").c_str(), S_IFBLK | 0660, ::makedev(7, 300)) == 0);
        REQUIRE(::mknod(p("socket").c_str(), S_IFSOCK | 0600, 0) == 0);
        REQUIRE(::setxattr(p("plain").c_str(), "trusted.t", "t", 1, 0) == 0);
    }
    REQUIRE(::chmod(p("dir/sub").c_str(), 01500) == 0);
    REQUIRE(::chmod(p("").c_str(), 0751) == 0);
    REQUIRE(::setxattr(p("").c_str(), "user.root", "r", 1, 0) == 0);
    fs::create_directory(p(".tdfs"));
    write_file(p(".tdfs/secret"), "not for anybody");
    set_time(p("dir/sub"), 1000, 1);
    set_time(p("dir"), 1000, 2);
    set_time(p(""), 1000, 3);
}

void check_nothing_fetched(const Outcome& outcome) {
    CHECK(outcome.failed == "");
    CHECK(outcome.finished);
    CHECK(outcome.counts.fetched_files == 0);
    CHECK(outcome.counts.fetched_bytes == 0);
    CHECK(outcome.counts.removed == 0);
}

}  // namespace

TEST_CASE("an empty replica becomes equal to a tree with one of everything") {
    Master master;
    const TempDir replica;
    build_zoo(master);
    const auto outcome = resync(master, replica);
    CHECK(outcome.failed == "");
    REQUIRE(outcome.finished);
    CHECK(differences(master, replica) == "");
    CHECK_FALSE(fs::exists(replica.path() / ".tdfs/secret"));
    CHECK(fs::is_empty(replica.path() / ".tdfs/stage"));
    CHECK(outcome.counts.fetched_bytes < 5'400'000);  // holes do not travel
    CHECK(outcome.progress.files_done == outcome.progress.files_total);
    CHECK(outcome.progress.bytes_done == outcome.progress.bytes_total);

    const auto again = resync(master, replica);
    check_nothing_fetched(again);
    CHECK(again.counts.metadata == 0);
    CHECK(differences(master, replica) == "");

    Course full;
    full.full = true;
    check_nothing_fetched(resync(master, replica, full));
    CHECK(differences(master, replica) == "");
}

TEST_CASE("what somebody copied before is used") {
    Master master;
    const TempDir replica;
    build_zoo(master);
    copy(master, replica);
    fs::remove_all(replica.path() / ".tdfs");
    check_nothing_fetched(resync(master, replica));
    CompareOptions no_holes;  // cp may have made more or fewer of them
    no_holes.holes = false;
    CHECK(tree_differences(master.dir.path(), replica.path(), no_holes) == "");
    Course full;
    full.full = true;
    CHECK(resync(master, replica, full).finished);
    CHECK(differences(master, replica) == "");
}

TEST_CASE("a copy without links, owners and attributes is put right") {
    Master master;
    const TempDir replica;
    build_zoo(master);
    copy(master, replica, "-r --preserve=timestamps");
    CHECK(resync(master, replica).finished);
    CompareOptions no_holes;
    no_holes.holes = false;
    CHECK(tree_differences(master.dir.path(), replica.path(), no_holes) == "");
}

TEST_CASE("what only the replica's files have of owner, permissions and attributes goes, though size and time agree") {
    Master master;
    const TempDir replica;
    write_file(master.path("plain"), "x");
    write_file(master.path("open to all"), "x");
    fs::create_symlink("plain", master.path("symlink"));
    copy(master, replica);
    const auto there = [&](const char* name) { return (replica.path() / name).string(); };
    REQUIRE(::setxattr(there("plain").c_str(), "user.mine", "m", 1, 0) == 0);
    REQUIRE(::chmod(there("open to all").c_str(), 0600) == 0);
    if (::geteuid() == 0) {
        REQUIRE(::lsetxattr(there("symlink").c_str(), "trusted.mine", "m", 1, 0) == 0);
        REQUIRE(::chown(there("plain").c_str(), 12, 34) == 0);
    }
    check_nothing_fetched(resync(master, replica));
    CHECK(differences(master, replica) == "");
}

TEST_CASE("what the master does not have is removed, whatever it is") {
    Master master;
    const TempDir replica;
    build_zoo(master);
    const auto p = [&](const std::string& name) { return (replica.path() / name).string(); };
    fs::create_directories(p("junk/deep/deeper"));
    write_file(p("junk/deep/file"), "j");
    write_file(p("aaa"), "j");
    write_file(p("zzz"), "j");
    fs::create_symlink("/", p("escape"));
    fs::create_directory(p("plain"));  // a file on the master
    write_file(p("plain/inside"), "j");
    write_file(p("dir"), "a directory on the master");
    fs::create_symlink("dir", p("sparse"));
    REQUIRE(::mkfifo(p("symlink").c_str(), 0600) == 0);
    fs::create_symlink("elsewhere", p("fifo"));
    fs::create_directories(p(".tdfs/stage/left"));
    write_file(p(".tdfs/stage/over"), "j");
    write_file(p(".tdfs/identity"), "keep");
    const auto outcome = resync(master, replica);
    CHECK(outcome.failed == "");
    CHECK(outcome.finished);
    CHECK(outcome.counts.removed >= 5);
    CHECK(differences(master, replica) == "");
    CHECK(fs::exists(p(".tdfs/identity")));
    CHECK(fs::is_empty(p(".tdfs/stage")));
}

TEST_CASE("of a big file only the blocks that differ are sent, into the file that is there") {
    Master master;
    const TempDir replica;
    const auto ours = (replica.path() / "big").string();
    write_file(master.path("big"), noise(20'000'000, 1));
    REQUIRE(resync(master, replica).finished);
    const auto before = stat_at(replica.fd(), "big");
    overwrite(master.path("big"), 5'000'000, "changed");
    overwrite(master.path("big"), 19'999'990, "the end, and longer");
    const auto outcome = resync(master, replica);
    CHECK(outcome.counts.fetched_files == 1);
    CHECK(outcome.counts.fetched_bytes > 0);
    CHECK(outcome.counts.fetched_bytes <= 2 * kResyncBlockBytes);
    CHECK(differences(master, replica) == "");
    CHECK(stat_at(replica.fd(), "big")->object.ino == before->object.ino);

    REQUIRE(::truncate(master.path("big").c_str(), 1'000'000) == 0);
    CHECK(resync(master, replica).counts.fetched_bytes <= kResyncBlockBytes);
    CHECK(differences(master, replica) == "");
}

TEST_CASE("holes of a file that is there become those of the master") {
    Master master;
    const TempDir replica;
    sparse_file(master.path("f"));
    write_file((replica.path() / "f").string(), noise(4'000'000, 9));
    write_file(master.path("g"), noise(3'000'000, 9));
    sparse_file((replica.path() / "g").string());
    REQUIRE(::truncate((write_file(master.path("h"), ""), master.path("h")).c_str(), 1'000'000) == 0);
    write_file((replica.path() / "h").string(), std::string(1'000'000, '\0'));
    set_time((replica.path() / "h").string(), 1000, 0);
    CHECK(resync(master, replica).finished);
    CHECK(differences(master, replica) == "");
}

TEST_CASE("a block that only bytes cut off again have allocated is data on the replica too") {
    Master master;
    const TempDir replica;
    write_file(master.path("f"), "");
    const auto object = stat_fd(open_at(AT_FDCWD, master.path("f"), O_PATH)->get())->object;
    master.hold.before_hold = [&] {
        overwrite(master.path("f"), 2000, "left of it: zeros");
        master.journal.add(WriteRecord{object, "f", 2000, as_bytes("left of it: zeros")});
        REQUIRE(::truncate(master.path("f").c_str(), 1000) == 0);
        AttributesRecord cut;
        cut.object = object;
        cut.path = "f";
        cut.valid = AttributesRecord::kSize;
        cut.size = 1000;
        master.journal.add(cut);
        master.hold.before_hold = nullptr;
    };
    CHECK(resync(master, replica).finished);
    CHECK(differences(master, replica) == "");
}

TEST_CASE("a difference that size and time do not show is found by full only") {
    Master master;
    const TempDir replica;
    write_file(master.path("f"), noise(1'000'000, 1));
    set_time(master.path("f"), 1000, 1);
    REQUIRE(resync(master, replica).finished);
    const auto ours = (replica.path() / "f").string();
    overwrite(ours, 500'000, "rot");
    set_time(ours, 1000, 1);
    check_nothing_fetched(resync(master, replica));
    CHECK(differences(master, replica) != "");
    Course full;
    full.full = true;
    const auto outcome = resync(master, replica, full);
    CHECK(outcome.counts.fetched_files == 1);
    CHECK(outcome.counts.fetched_bytes <= kResyncBlockBytes);
    CHECK(differences(master, replica) == "");
}

TEST_CASE("a resync that was cut off anywhere goes on cheaply") {
    Master master;
    for (int i = 0; i < 60; ++i)
        write_file(master.path("f" + std::to_string(i)), noise(20'000, static_cast<unsigned>(i)));
    fs::create_directory(master.path("d"));
    write_file(master.path("d/big"), noise(3'000'000, 77));
    for (const auto cut : std::vector<std::size_t>{1, 3, 5, 40, 70, 120, 130}) {
        INFO("cut after " << cut);
        const TempDir replica;
        Course course;
        course.cut_after = cut;
        const auto first = resync(master, replica, course);
        const auto second = resync(master, replica);
        CHECK(second.finished);
        CHECK(differences(master, replica) == "");
        // Only what was on its way when it was cut is sent twice: at most the open files, here one big and some small.
        CHECK(first.counts.fetched_bytes + second.counts.fetched_bytes <= 4'200'000 + 3'000'000 + 20'000);
        CHECK(first.counts.fetched_files + second.counts.fetched_files <= 61);
    }
}

TEST_CASE("trees deeper than a path can be are carried over") {
    Master master;
    const TempDir replica;
    OwnFd at(::dup(master.dir.fd()));
    for (int i = 0; i < 25; ++i) {
        const std::string name(250, static_cast<char>('a' + i));
        REQUIRE(::mkdirat(at.get(), name.c_str(), 0755) == 0);
        at = std::move(*open_at(at.get(), name, O_RDONLY | O_DIRECTORY));
        const OwnFd file(::openat(at.get(), "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
        REQUIRE(file);
        REQUIRE(write_all(file.get(), as_bytes(name), 0));
    }
    const auto outcome = resync(master, replica);
    CHECK(outcome.failed == "");
    CHECK(outcome.finished);
    CHECK(differences(master, replica) == "");
    check_nothing_fetched(resync(master, replica));
}

TEST_CASE("a directory of very many entries goes part by part") {
    Master master;
    const TempDir replica;
    for (int i = 0; i < 6000; ++i) {
        REQUIRE(::mknod(master.path("entry with a name that takes some room " + std::to_string(i)).c_str(),
                        S_IFREG | 0644, 0) == 0);
    }
    for (int i = 0; i < 3000; i += 2) write_file((replica.path() / ("junk " + std::to_string(i))).string(), "");
    std::size_t parts = 0;
    Course course;
    course.see = [&](MessageKind kind, ByteView) { parts += kind == MessageKind::kListPart ? 1 : 0; };
    const auto outcome = resync(master, replica, course);
    CHECK(outcome.finished);
    CHECK(parts >= 3);
    CHECK(outcome.counts.removed == 1500);
    CHECK(outcome.progress.files_total == 6000);
    CHECK(differences(master, replica) == "");
}

TEST_CASE("a local error names path, operation and reason") {
    Master master;
    const TempDir replica;
    write_file(master.path("f"), "x");
    fs::create_directory(replica.path() / ".tdfs");
    write_file((replica.path() / ".tdfs/stage").string(), "in the way");
    const auto outcome = resync(master, replica);
    CHECK_FALSE(outcome.finished);
    CHECK_THAT(outcome.failed, Catch::Matchers::ContainsSubstring("cannot open .tdfs/stage: Not a directory"));
}

// Each kind of record against the same change made by plain system calls on a second directory.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>

#include "common/os/file.hpp"
#include "tests/support/tree_compare.hpp"
#include "tests/unit/slave/fixture.hpp"
#include "tests/unit/slave/mini_master.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

struct Pair {
    TempDir dir;
    std::string want = dir.dir("want");
    Bench bench{dir.dir("replica"), dir.dir("state")};

    [[nodiscard]] std::string replica(const std::string& path) const { return bench.root() + "/" + path; }
    [[nodiscard]] std::string wanted(const std::string& path) const { return want + "/" + path; }
    void apply(const Record& r) {
        INFO(to_text(r));
        CHECK(bench.apply(r) == "");
    }
    [[nodiscard]] std::string differences(bool times = false) const {
        CompareOptions options;
        options.times = times;
        return tree_differences(want, bench.root(), options);
    }
};

struct stat look(const std::string& path) {
    struct stat st {};
    REQUIRE(::lstat(path.c_str(), &st) == 0);
    return st;
}

// As an ACL is stored: version 2, then entries of tag, permissions, id.
std::string acl(std::initializer_list<std::array<std::uint32_t, 3>> entries) {
    std::string out("\2\0\0\0", 4);
    for (const auto& [tag, permissions, id] : entries) {
        const auto put16 = [&](std::uint32_t v) {
            out += {static_cast<char>(v & 0xff), static_cast<char>(v >> 8 & 0xff)};
        };
        put16(tag);
        put16(permissions);
        put16(id & 0xffff);
        put16(id >> 16);
    }
    return out;
}
constexpr std::uint32_t kNobody = 0xffffffff;

}  // namespace

TEST_CASE("objects of every type are created with owner, mode, target and device") {
    Pair p;
    p.apply(dir_at("d", 02755, 7, 8));
    p.apply(file_at("d/f", 04711, 1000, 1001));
    p.apply(symlink_at("d/l", "../../nowhere"));
    CreateRecord fifo = file_at("p", 0620, 3, 4);
    fifo.mode = S_IFIFO | 0620;
    p.apply(fifo);
    CreateRecord device = file_at("null", 0666, 0, 6);
    device.mode = S_IFCHR | 0666;
    device.rdev = makedev(1, 3);
    p.apply(device);
    CreateRecord socket = file_at("s", 0700, 9, 9);
    socket.mode = S_IFSOCK | 0700;
    p.apply(socket);

    make_dir(p.wanted("d"));
    REQUIRE(::chown(p.wanted("d").c_str(), 7, 8) == 0);
    REQUIRE(::chmod(p.wanted("d").c_str(), 02755) == 0);
    put(p.wanted("d/f"), "");
    REQUIRE(::chown(p.wanted("d/f").c_str(), 1000, 1001) == 0);
    REQUIRE(::chmod(p.wanted("d/f").c_str(), 04711) == 0);
    REQUIRE(::symlink("../../nowhere", p.wanted("d/l").c_str()) == 0);
    REQUIRE(::lchown(p.wanted("d/l").c_str(), 0, 0) == 0);
    REQUIRE(::mknod(p.wanted("p").c_str(), S_IFIFO | 0600, 0) == 0);
    REQUIRE(::chmod(p.wanted("p").c_str(), 0620) == 0);
    REQUIRE(::chown(p.wanted("p").c_str(), 3, 4) == 0);
    REQUIRE(::mknod(p.wanted("null").c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0);
    REQUIRE(::chmod(p.wanted("null").c_str(), 0666) == 0);
    REQUIRE(::chown(p.wanted("null").c_str(), 0, 6) == 0);
    REQUIRE(::mknod(p.wanted("s").c_str(), S_IFSOCK | 0700, 0) == 0);
    REQUIRE(::chown(p.wanted("s").c_str(), 9, 9) == 0);
    CHECK(p.differences() == "");
    CHECK(look(p.replica("d/l")).st_mtim.tv_nsec == 123'456'789);
}

TEST_CASE("what a set-group-id parent does to owner and mode is corrected") {
    Pair p;
    p.apply(dir_at("d", 02777, 0, 50));
    p.apply(file_at("d/f", 0640, 5, 6));
    p.apply(dir_at("d/sub", 0750, 5, 6));
    CHECK(look(p.replica("d/f")).st_gid == 6);
    CHECK((look(p.replica("d/f")).st_mode & 07777) == 0640);
    CHECK(look(p.replica("d/sub")).st_gid == 6);
    CHECK((look(p.replica("d/sub")).st_mode & 07777) == 0750);
}

TEST_CASE("under a default ACL new objects get the ACL that the master's got") {
    Pair p;
    const std::string value = acl({{1, 7, kNobody}, {2, 7, 1234}, {4, 5, kNobody}, {16, 7, kNobody}, {32, 0, kNobody}});
    p.apply(dir_at("d", 0750));
    SetXattrRecord set;
    set.path = "d";
    set.name = "system.posix_acl_default";
    set.value = as_bytes(value);
    set.mode = 0xffffffff;
    p.apply(set);
    p.apply(file_at("d/f", 0640));
    p.apply(dir_at("d/sub", 0770));

    make_dir(p.wanted("d"), 0750);
    REQUIRE(::setxattr(p.wanted("d").c_str(), "system.posix_acl_default", value.data(), value.size(), 0) == 0);
    put(p.wanted("d/f"), "", 0640);
    make_dir(p.wanted("d/sub"), 0777);
    CHECK(p.differences() == "");
}

TEST_CASE("writes, holes, truncation and allocation come out byte for byte and hole for hole") {
    Pair p;
    p.apply(file_at("f"));
    p.apply(write_at("f", "hello", 0));
    p.apply(write_at("f", std::string(100'000, 'x'), 200'000));
    FallocateRecord punch;
    punch.path = "f";
    punch.mode = 3;
    punch.offset = 204'800;
    punch.length = 40'960;
    p.apply(punch);
    FallocateRecord grow;
    grow.path = "f";
    grow.offset = 300'000;
    grow.length = 5000;
    p.apply(grow);
    AttributesRecord cut;
    cut.path = "f";
    cut.valid = AttributesRecord::kSize;
    cut.size = 303'000;
    p.apply(cut);

    put(p.wanted("f"), "hello");
    const OwnFd fd(::open(p.wanted("f").c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(write_all(fd.get(), as_bytes(std::string(100'000, 'x')), 200'000).has_value());
    REQUIRE(::fallocate(fd.get(), 3, 204'800, 40'960) == 0);
    REQUIRE(::fallocate(fd.get(), 0, 300'000, 5000) == 0);
    REQUIRE(::ftruncate(fd.get(), 303'000) == 0);
    CHECK(p.differences() == "");
}

TEST_CASE("a range is copied on the replica") {
    Pair p;
    p.apply(file_at("a"));
    p.apply(write_at("a", "0123456789"));
    p.apply(file_at("b"));
    CopyRangeRecord copy;
    copy.from_path = "a";
    copy.path = "b";
    copy.from_offset = 2;
    copy.offset = 1;
    copy.length = 5;
    p.apply(copy);
    CHECK(get(p.replica("b")) == std::string("\0"
                                             "23456",
                                             6));
    copy.from_path = "b";
    copy.from_offset = 1;
    copy.offset = 6;
    copy.length = 5;
    p.apply(copy);  // within one file
    CHECK(get(p.replica("b")) == std::string("\0"
                                             "2345623456",
                                             11));
    copy.from_path = "a";
    copy.from_offset = 8;
    CHECK(p.bench.apply(copy) != "");  // the source ends first: not the file the master had
}

TEST_CASE("owner, mode and time are set in that order") {
    Pair p;
    p.apply(file_at("f"));
    AttributesRecord r;
    r.path = "f";
    r.valid = AttributesRecord::kMode | AttributesRecord::kUid | AttributesRecord::kGid | AttributesRecord::kMtime |
              AttributesRecord::kSize;
    r.mode = 06755;  // a chown after it would take the set-id bits
    r.uid = 11;
    r.gid = 12;
    r.size = 10;
    r.mtime_ns = -1'000'000'001;  // before 1970
    p.apply(r);
    const auto st = look(p.replica("f"));
    CHECK((st.st_mode & 07777) == 06755);
    CHECK(st.st_uid == 11);
    CHECK(st.st_gid == 12);
    CHECK(st.st_size == 10);
    CHECK(st.st_mtim.tv_sec == -2);
    CHECK(st.st_mtim.tv_nsec == 999'999'999);
}

TEST_CASE("attributes of a symlink are its own") {
    Pair p;
    p.apply(file_at("f"));
    p.apply(symlink_at("l", "f"));
    AttributesRecord r;
    r.path = "l";
    r.valid = AttributesRecord::kMode | AttributesRecord::kUid | AttributesRecord::kGid | AttributesRecord::kMtime;
    r.mode = 0777;
    r.uid = 11;
    r.gid = 12;
    r.mtime_ns = 5;
    p.apply(r);
    CHECK(look(p.replica("l")).st_uid == 11);
    CHECK(look(p.replica("l")).st_mtim.tv_nsec == 5);
    CHECK(look(p.replica("f")).st_uid == 0);
    CHECK((look(p.replica("f")).st_mode & 07777) == 0644);
}

TEST_CASE("the root has attributes and extended attributes as any directory") {
    Pair p;
    AttributesRecord r;
    r.path = "";
    r.valid = AttributesRecord::kMode | AttributesRecord::kUid | AttributesRecord::kGid;
    r.mode = 0751;
    r.uid = 21;
    r.gid = 22;
    p.apply(r);
    SetXattrRecord set;
    set.name = "user.who";
    set.value = as_bytes("me");
    set.mode = 0xffffffff;
    p.apply(set);
    p.apply(settled("", 1'234'567'890'123'456'789));
    const auto st = look(p.bench.root());
    CHECK((st.st_mode & 07777) == 0751);
    CHECK(st.st_uid == 21);
    CHECK(st.st_mtim.tv_sec == 1'234'567'890);
    CHECK(st.st_mtim.tv_nsec == 123'456'789);
    std::array<char, 2> value{};
    CHECK(::getxattr(p.bench.root().c_str(), "user.who", value.data(), 2) == 2);
}

TEST_CASE("extended attributes and ACLs are set and removed") {
    Pair p;
    const std::string value = acl({{1, 6, kNobody}, {2, 7, 1234}, {4, 4, kNobody}, {16, 7, kNobody}, {32, 0, kNobody}});
    p.apply(file_at("f", 0640));
    p.apply(symlink_at("l", "f"));
    put(p.wanted("f"), "", 0640);
    REQUIRE(::symlink("f", p.wanted("l").c_str()) == 0);
    const auto set = [&](std::string_view path, const std::string& name, const std::string& v, std::uint32_t mode) {
        SetXattrRecord r;
        r.path = path;
        r.name = name;
        r.value = as_bytes(v);
        r.mode = mode;
        p.apply(r);
        REQUIRE(::lsetxattr(p.wanted(std::string(path)).c_str(), name.c_str(), v.data(), v.size(), 0) == 0);
    };
    set("f", "user.a", "1", 0640);
    set("f", "user.b", "", 0xffffffff);
    set("f", "trusted.t", "2", 0640);
    set("l", "trusted.t", "3", 0777);
    set("f", "system.posix_acl_access", value, 0670);
    CHECK(p.differences() == "");

    RemoveXattrRecord remove;
    remove.path = "f";
    for (const char* name : {"user.a", "system.posix_acl_access"}) {
        remove.name = name;
        p.apply(remove);
        REQUIRE(::removexattr(p.wanted("f").c_str(), name) == 0);
    }
    CHECK(p.differences() == "");
}

TEST_CASE("links, removals, renames and exchanges") {
    Pair p;
    p.apply(dir_at("d"));
    p.apply(file_at("d/a"));
    p.apply(write_at("d/a", "A"));
    p.apply(link_of("d/a", "b"));
    p.apply(symlink_at("l", "d"));
    p.apply(link_of("l", "l2"));  // the symlink itself
    CHECK(look(p.replica("l2")).st_ino == look(p.replica("l")).st_ino);
    p.apply(unlink_of("d/a"));
    CHECK(get(p.replica("b")) == "A");
    p.apply(rename_of("b", "d/c"));
    p.apply(file_at("x"));
    p.apply(exchange_of("x", "d"));  // a file and a directory
    CHECK(get(p.replica("x/c")) == "A");
    CHECK(get(p.replica("d")).empty());
    p.apply(rename_of("x", "y"));
    p.apply(file_at("z"));
    p.apply(rename_of("d", "z"));  // replaces
    CHECK_FALSE(exists(p.replica("d")));
    p.apply(unlink_of("y/c"));
    p.apply(rmdir_of("y"));
    CHECK_FALSE(exists(p.replica("y")));
    p.apply(SyncRecord{});
}

TEST_CASE("an object of the stage gets a place in the tree") {
    Pair p;
    p.apply(file_at(".tdfs/stage/1", 0600, 5, 5));
    p.apply(write_at(".tdfs/stage/1", "content"));
    p.apply(link_of(".tdfs/stage/1", "f"));
    p.apply(unlink_of(".tdfs/stage/1"));
    p.apply(file_at(".tdfs/stage/2"));
    p.apply(rename_of(".tdfs/stage/2", "g"));
    p.apply(write_at("g", "more"));
    CHECK(get(p.replica("f")) == "content");
    CHECK(get(p.replica("g")) == "more");
    CHECK_FALSE(exists(p.replica(".tdfs/stage/1")));
    CHECK_FALSE(exists(p.replica(".tdfs/stage/2")));
}

TEST_CASE("writes follow a file and its directories through renames") {
    Pair p;
    p.apply(dir_at("d"));
    p.apply(dir_at("d/e"));
    p.apply(file_at("d/e/f"));
    p.apply(write_at("d/e/f", "1"));
    p.apply(rename_of("d", "n"));
    p.apply(dir_at("d"));
    p.apply(dir_at("d/e"));
    p.apply(file_at("d/e/f"));
    p.apply(write_at("d/e/f", "new"));    // beneath the old name
    p.apply(write_at("n/e/f", "22", 1));  // beneath the new one
    CHECK(get(p.replica("n/e/f")) == "122");
    CHECK(get(p.replica("d/e/f")) == "new");

    p.apply(exchange_of("d", "n"));
    p.apply(write_at("d/e/f", "3", 3));
    p.apply(file_at("n/e/g"));
    CHECK(get(p.replica("d/e/f")) == "1223");
    CHECK(get(p.replica("n/e/f")) == "new");
    CHECK(exists(p.replica("n/e/g")));

    p.apply(file_at("tmp"));
    p.apply(write_at("tmp", "replaced"));
    p.apply(rename_of("tmp", "d/e/f"));
    p.apply(write_at("d/e/f", "R"));
    CHECK(get(p.replica("d/e/f")) == "Replaced");
    p.apply(unlink_of("d/e/f"));
    p.apply(file_at("d/e/f"));
    p.apply(write_at("d/e/f", "again"));
    CHECK(get(p.replica("d/e/f")) == "again");

    p.apply(unlink_of("d/e/f"));
    p.apply(rmdir_of("d/e"));
    p.apply(dir_at("d/e"));
    p.apply(file_at("d/e/h"));
    CHECK(exists(p.replica("d/e/h")));
}

TEST_CASE("a settled file can be executed") {
    Pair p;
    p.apply(file_at("run", 0755));
    p.apply(write_at("run", "#!/bin/true\n"));
    p.apply(settled("run", 5));
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::execl(p.replica("run").c_str(), "run", nullptr);
        ::_exit(errno);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(look(p.replica("run")).st_mtim.tv_nsec == 5);
}

TEST_CASE("a foreign change is an error until it is gone") {
    Pair p;
    p.apply(dir_at("d"));
    SECTION("a name is taken") {
        put(p.replica("f"), "foreign");
        CHECK_THAT(p.bench.apply(file_at("f")), Catch::Matchers::ContainsSubstring("File exists"));
        CHECK_THAT(p.bench.apply(file_at("f")), Catch::Matchers::ContainsSubstring("File exists"));
        CHECK(get(p.replica("f")) == "foreign");
        REQUIRE(::unlink(p.replica("f").c_str()) == 0);
        CHECK(p.bench.apply(file_at("f")) == "");
    }
    SECTION("even by something that looks new") {
        put(p.replica("f"), "");
        CHECK(p.bench.apply(file_at("f")) != "");
        CHECK(p.bench.apply(file_at("f")) != "");
    }
    SECTION("a name is missing") {
        CHECK(p.bench.apply(unlink_of("f")) != "");
        CHECK(p.bench.apply(unlink_of("f")) != "");
        CHECK(p.bench.apply(rename_of("f", "g")) != "");
        CHECK(p.bench.apply(exchange_of("f", "d")) != "");
        CHECK(p.bench.apply(write_at("f", "x")) != "");
        put(p.replica("f"), "");
        CHECK(p.bench.apply(unlink_of("f")) == "");
    }
    SECTION("a directory is not empty") {
        put(p.replica("d/foreign"), "");
        CHECK_THAT(p.bench.apply(rmdir_of("d")), Catch::Matchers::ContainsSubstring("not empty"));
        REQUIRE(::unlink(p.replica("d/foreign").c_str()) == 0);
        CHECK(p.bench.apply(rmdir_of("d")) == "");
    }
    SECTION("a file is a directory, a pipe, a device") {
        make_dir(p.replica("f"));
        CHECK(p.bench.apply(write_at("f", "x")) != "");
        REQUIRE(::rmdir(p.replica("f").c_str()) == 0);
        REQUIRE(::mkfifo(p.replica("f").c_str(), 0600) == 0);
        CHECK(p.bench.apply(write_at("f", "x")) != "");
        REQUIRE(::unlink(p.replica("f").c_str()) == 0);
        REQUIRE(::mknod(p.replica("f").c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0);
        CHECK(p.bench.apply(write_at("f", "x")) != "");
    }
}

TEST_CASE("what the file system cannot allocate is done by hand", "[tmpfs]") {
    // tmpfs knows no FALLOC_FL_ZERO_RANGE.
    if (::access("/dev/shm", W_OK) != 0) return;
    ::setenv("TMPDIR", "/dev/shm", 1);
    Pair p;
    ::unsetenv("TMPDIR");
    p.apply(file_at("f"));
    p.apply(write_at("f", std::string(10'000, 'x')));
    FallocateRecord zero;
    zero.path = "f";
    zero.mode = 16;
    zero.offset = 5000;
    zero.length = 10'000;
    p.apply(zero);
    CHECK(get(p.replica("f")) == std::string(5000, 'x') + std::string(10'000, '\0'));
    zero.mode = 17;
    zero.offset = 14'000;
    p.apply(zero);
    CHECK(get(p.replica("f")).size() == 15'000);
}

TEST_CASE("a storm of records makes the tree the master has") {
    const auto seed = random_seed();
    Pair p;
    MiniMaster master(p.want, seed);
    master.storm(3000);
    master.settle();
    AttributesRecord root;  // the two roots were made by the test
    root.valid = AttributesRecord::kMode;
    root.mode = look(p.want).st_mode & 07777;
    p.apply(root);
    std::size_t n = 0;
    for (const auto& r : master.records()) {
        const auto error = p.bench.apply_encoded(r);
        INFO("record " << n++ << ": " << to_text(*decode_record(r)));
        REQUIRE(error == "");
    }
    CHECK(p.differences(true) == "");
}

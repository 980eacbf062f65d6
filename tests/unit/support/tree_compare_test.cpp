// The judge itself: each kind of difference must be noticed, and none seen where there is none.
#include "tests/support/tree_compare.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>

#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

namespace fs = std::filesystem;
using tdfs::test::compare_trees;
using tdfs::test::CompareOptions;
using tdfs::test::TempDir;
using tdfs::test::tree_differences;

namespace {

void write(const fs::path& p, const std::string& content) { std::ofstream(p, std::ios::binary) << content; }

void set_mtime(const fs::path& p, long seconds, long ns) {
    const std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, timespec{seconds, ns}};
    REQUIRE(::utimensat(AT_FDCWD, p.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) == 0);
}

void sparse(const fs::path& p, off_t data_at) {
    const int fd = ::open(p.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    REQUIRE(fd >= 0);
    REQUIRE(::ftruncate(fd, 1 << 20) == 0);
    std::string block(4096, '\0');
    REQUIRE(::pwrite(fd, block.data(), block.size(), data_at) == 4096);
    ::close(fd);
}

void build(const fs::path& root) {
    fs::create_directories(root / "dir" / "sub");
    write(root / "file", "hello");
    write(root / "dir" / "other", "world");
    fs::create_hard_link(root / "file", root / "dir" / "linked");
    write(root / "twin", "hello");
    fs::create_symlink("target", root / "symlink");
    sparse(root / "sparse", 8192);
    REQUIRE(::mkfifo((root / "fifo").c_str(), 0600) == 0);
    REQUIRE(::setxattr((root / "file").c_str(), "user.a", "1", 1, 0) == 0);
    for (const char* name : {"file", "twin", "dir/other", "symlink", "sparse", "fifo", "dir/sub", "dir", "."}) {
        set_mtime(root / name, 1000, 5);
    }
}

}  // namespace

TEST_CASE("equal trees have no differences, whatever .tdfs holds in the roots") {
    const TempDir a, b;
    build(a.path());
    build(b.path());
    fs::create_directory(b.path() / ".tdfs");
    set_mtime(b.path(), 1000, 5);
    CHECK(tree_differences(a.path(), b.path()) == "");
    CompareOptions all;
    all.skip_state = false;
    CHECK(compare_trees(a.path(), b.path(), all).size() == 1);
}

TEST_CASE("each kind of difference is noticed") {
    const std::map<std::string, std::pair<std::function<void(const fs::path&)>, std::string>> changes = {
        {"a missing name", {[](const fs::path& r) { fs::remove(r / "twin"); }, "twin: only on the left"}},
        {"a name too many", {[](const fs::path& r) { write(r / "zz", ""); }, "zz: only on the right"}},
        {"another type",
         {[](const fs::path& r) {
              fs::remove(r / "twin");
              fs::create_directory(r / "twin");
          },
          "twin: type"}},
        {"content of the same size", {[](const fs::path& r) { write(r / "twin", "hellO"); }, "differs at byte 4"}},
        {"a longer file", {[](const fs::path& r) { write(r / "twin", "hello!"); }, "twin: size 5 != 6"}},
        {"permissions", {[](const fs::path& r) { ::chmod((r / "dir/sub").c_str(), 01700); }, "dir/sub: mode"}},
        {"setuid", {[](const fs::path& r) { ::chmod((r / "twin").c_str(), 04644); }, "twin: mode"}},
        {"the mode of the root", {[](const fs::path& r) { ::chmod(r.c_str(), 0711); }, "(root): mode"}},
        {"one nanosecond", {[](const fs::path& r) { set_mtime(r / "dir", 1000, 6); }, "dir: mtime"}},
        {"the time of a symlink", {[](const fs::path& r) { set_mtime(r / "symlink", 1, 5); }, "symlink: mtime"}},
        {"the value of an attribute",
         {[](const fs::path& r) { ::setxattr((r / "file").c_str(), "user.a", "2", 1, 0); }, "user.a 1 != 2"}},
        {"an attribute too few",
         {[](const fs::path& r) { ::removexattr((r / "file").c_str(), "user.a"); }, "user.a only on the left"}},
        {"an attribute too many",
         {[](const fs::path& r) { ::setxattr((r / "dir").c_str(), "user.b", "", 0, 0); }, "user.b only on the right"}},
        {"the target of a symlink",
         {[](const fs::path& r) {
              fs::remove(r / "symlink");
              fs::create_symlink("tarGet", r / "symlink");
          },
          "symlink: target"}},
        {"a hole in another place",
         {[](const fs::path& r) {
              fs::remove(r / "sparse");
              sparse(r / "sparse", 16384);
          },
          "sparse: data at"}},
        {"a link broken",
         {[](const fs::path& r) {
              fs::remove(r / "file");
              write(r / "file", "hello");
          },
          "hard link of dir/linked on the left only"}},
        {"a link too many",
         {[](const fs::path& r) {
              fs::remove(r / "twin");
              fs::create_hard_link(r / "file", r / "twin");
          },
          "hard link of dir/linked on the right only"}},
    };
    for (const auto& [what, change] : changes) {
        INFO(what);
        const TempDir a, b;
        build(a.path());
        build(b.path());
        change.first(b.path());
        CHECK_THAT(tree_differences(a.path(), b.path()), Catch::Matchers::ContainsSubstring(change.second));
    }
}

TEST_CASE("owners and device numbers are compared") {
    if (::geteuid() != 0) return;  // only root may make them
    const TempDir a, b;
    build(a.path());
    build(b.path());
    REQUIRE(::chown((b.path() / "twin").c_str(), 7, 8) == 0);
    REQUIRE(::lchown((b.path() / "symlink").c_str(), 9, 0) == 0);
    const auto found = tree_differences(a.path(), b.path());
    CHECK_THAT(found, Catch::Matchers::ContainsSubstring("twin: uid 0 != 7"));
    CHECK_THAT(found, Catch::Matchers::ContainsSubstring("twin: gid 0 != 8"));
    CHECK_THAT(found, Catch::Matchers::ContainsSubstring("symlink: uid 0 != 9"));
    CompareOptions no_owners;
    no_owners.owners = false;
    CHECK(tree_differences(a.path(), b.path(), no_owners) == "");
    if (::mknod((a.path() / "dev").c_str(), S_IFCHR | 0600, ::makedev(1, 3)) != 0) return;
    REQUIRE(::mknod((b.path() / "dev").c_str(), S_IFCHR | 0600, ::makedev(1, 5)) == 0);
    CHECK_THAT(tree_differences(a.path(), b.path()), Catch::Matchers::ContainsSubstring("dev: device 1:3 != 1:5"));
}

TEST_CASE("the list of differences ends at its limit") {
    const TempDir a, b;
    for (int i = 0; i < 50; ++i) write(a.path() / std::to_string(i), "");
    CompareOptions few;
    few.limit = 7;
    CHECK(compare_trees(a.path(), b.path(), few).size() == 7);
}

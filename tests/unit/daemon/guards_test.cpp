// What is refused before a daemon starts.
#include "common/daemon/guards.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/daemon/mounts.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;
using Catch::Matchers::ContainsSubstring;
using tdfs::test::TempDir;
namespace fs = std::filesystem;

namespace {

std::string place_error(const fs::path& path) {
    const auto dir = open_directory(path);
    REQUIRE(dir);
    const auto checked = check_place(dir->get(), path);
    return checked ? std::string() : checked.error();
}

bool holds_nothing(const fs::path& path) {
    const auto dir = open_directory(path);
    REQUIRE(dir);
    const auto empty = is_directory_empty(dir->get(), path);
    REQUIRE(empty);
    return *empty;
}

}  // namespace

TEST_CASE("this machine can run tdfs") { CHECK(check_system()); }

TEST_CASE("a directory that cannot be used is told in words") {
    const TempDir temp;
    std::ofstream(temp.path() / "file") << "x";
    CHECK_THAT(open_directory(temp.path() / "none").error(), ContainsSubstring("does not exist"));
    CHECK_THAT(open_directory(temp.path() / "file").error(), ContainsSubstring("is not a directory"));
    CHECK_THAT(open_directory(temp.path() / "file" / "x").error(), ContainsSubstring("is not a directory"));
    fs::create_directory_symlink(temp.path(), temp.path() / "link");
    CHECK(open_directory(temp.path() / "link"));
}

TEST_CASE("a directory inside another volume is refused at any depth, the volume itself is not") {
    const TempDir temp;
    const auto deep = temp.path() / "volume" / "a" / "b";
    fs::create_directories(deep);
    CHECK(place_error(deep).empty());
    fs::create_directory(temp.path() / "volume" / ".tdfs");
    CHECK(place_error(deep).empty());  // an empty .tdfs makes no volume
    std::ofstream(temp.path() / "volume" / ".tdfs" / "volume") << "volume";
    CHECK_THAT(place_error(deep), ContainsSubstring("inside the directory of another tdfs volume (" +
                                                    (temp.path() / "volume").string() + ")"));
    CHECK(place_error(temp.path() / "volume").empty());
    CHECK(place_error(temp.path()).empty());
    CHECK(place_error("/").empty());
}

TEST_CASE("a directory is empty when only ours and the file system's own are there") {
    const TempDir temp;
    CHECK(holds_nothing(temp.path()));
    fs::create_directory(temp.path() / ".tdfs");
    fs::create_directory(temp.path() / "lost+found");
    CHECK(holds_nothing(temp.path()));
    std::ofstream(temp.path() / "file") << "x";
    CHECK_FALSE(holds_nothing(temp.path()));
}

TEST_CASE("canonical paths end symlinks and dots, and the last component may be missing") {
    const TempDir temp;
    const auto real = temp.path().string();
    fs::create_directory(temp.path() / "dir");
    fs::create_directory_symlink("dir", temp.path() / "link");
    CHECK(*canonical_path(real + "/link/../dir/./") == real + "/dir");
    CHECK(*canonical_path(real + "/link/none") == real + "/dir/none");
    CHECK(*canonical_path(real + "/link/none//") == real + "/dir/none");
    CHECK(*canonical_path("/") == "/");
    CHECK(*canonical_path("/none-there") == "/none-there");
    CHECK(*canonical_path("none-here") == fs::current_path().string() + "/none-here");
    CHECK_FALSE(canonical_path(""));
    CHECK_FALSE(canonical_path(real + "/none/none"));
    CHECK_FALSE(canonical_path(real + "/none/.."));
}

TEST_CASE("beneath means beneath, not equal and not alike") {
    const TempDir temp;
    const auto real = temp.path().string();
    fs::create_directories(temp.path() / "dir" / "sub");
    fs::create_directory(temp.path() / "dir2");
    fs::create_directory_symlink("dir", temp.path() / "link");
    CHECK(*is_strictly_beneath(real + "/dir/sub", real + "/dir"));
    CHECK(*is_strictly_beneath(real + "/link/none", real + "/dir"));
    CHECK(*is_strictly_beneath(real, "/"));
    CHECK_FALSE(*is_strictly_beneath(real + "/link", real + "/dir"));
    CHECK_FALSE(*is_strictly_beneath(real + "/dir2", real + "/dir"));
    CHECK_FALSE(*is_strictly_beneath(real + "/dir", real + "/dir/sub"));
    CHECK_FALSE(is_strictly_beneath(real + "/none/none", real));
}

TEST_CASE("mountinfo is read with its escapes and its optional fields") {
    const auto mounts = parse_mountinfo(
        "36 35 98:0 / / rw,noatime master:1 propagate_from:2 - ext4 /dev/root rw\n"
        "garbage\n"
        "37 36 0:5 / /a\\040b\\134c rw - fuse.tdfs data rw,user_id=0\n"
        "x 36 0:5 / /y rw - tmpfs none rw\n"
        "38 36 0:6 / /z rw");
    REQUIRE(mounts.size() == 2);
    CHECK(mounts[0].id == 36);
    CHECK(mounts[0].point == "/");
    CHECK(mounts[0].type == "ext4");
    CHECK(mounts[0].device == "98:0");
    CHECK(mounts[1].point == "/a b\\c");
    CHECK(mounts[1].type == kTdfsType);
    CHECK(parse_mountinfo("").empty());
}

TEST_CASE("the mount of an open descriptor is found") {
    const auto proc = open_directory("/proc/self");
    REQUIRE(proc);
    const auto mount = mount_of(proc->get());
    REQUIRE(mount);
    CHECK(mount->point == "/proc");
    CHECK(mount->type == "proc");
    CHECK_FALSE(mount_of(-1));
}

TEST_CASE("a mount whose daemon is gone is found, and the advice is to unmount it") {
    const TempDir temp;
    const auto point = temp.path() / "mount point";
    fs::create_directory(point);
    {
        const OwnFd fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
        const auto options = "fd=" + std::to_string(fuse.get()) + ",rootmode=40000,user_id=0,group_id=0";
        if (!fuse || ::mount("data", point.c_str(), "fuse.tdfs", 0, options.c_str()) != 0) {
            WARN("no mounting here: not tested");
            return;
        }
    }  // the daemon "dies"
    const auto stale = find_stale_mount(point);
    const auto seen_from_below = find_stale_mount(point.string() + "/");
    const auto opened = open_directory(point);
    const auto canonical = canonical_path(point);
    const auto mounts = current_mounts();
    ::umount2(point.c_str(), MNT_DETACH);
    CHECK(stale);
    CHECK(seen_from_below);
    REQUIRE_FALSE(opened);
    CHECK_THAT(opened.error(), ContainsSubstring("daemon is gone"));
    CHECK(*canonical == point.string());
    CHECK(mounts.back().type == kTdfsType);
    CHECK_FALSE(find_stale_mount(point));
}

TEST_CASE("what is no mount, or a living one, is not stale") {
    const TempDir temp;
    CHECK_FALSE(find_stale_mount(temp.path()));
    CHECK_FALSE(find_stale_mount(temp.path() / "none"));
    CHECK_FALSE(find_stale_mount("/proc"));
}

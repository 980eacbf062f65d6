// Opening beneath a root: deep paths are fine, everything that would lead outside is refused.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <climits>

#include "common/os/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/os/deep_tree.hpp"

using namespace tdfs;
using tdfs::test::TempDir;

namespace {

int error_of(const SysResult<OwnFd>& result) { return result ? 0 : result.error().value(); }

}  // namespace

TEST_CASE("a path longer than PATH_MAX is opened, and a file in it created and found") {
    TempDir temp;
    const auto deep = test::make_deep_tree(temp.fd(), std::string(200, 'd'), 60);
    REQUIRE(deep.size() > 2 * PATH_MAX);

    {
        auto file = open_beneath(temp.fd(), deep + "/file", O_RDWR | O_CREAT | O_EXCL, 0640);
        REQUIRE(file);
        REQUIRE(write_all(file->get(), as_bytes("deep"), 0));
    }
    auto parent = open_parent_beneath(temp.fd(), deep + "/file");
    REQUIRE(parent);
    const auto info = stat_at(parent->get(), "file");
    REQUIRE(info);
    CHECK(info->size == 4);
    CHECK(info->is_regular());
}

TEST_CASE("every length of path around PATH_MAX is opened") {
    TempDir temp;
    const auto deep = test::make_deep_tree(temp.fd(), std::string(99, 'x'), 40);  // 3999 bytes
    for (std::size_t extra = 80; extra <= 110; ++extra) {
        CAPTURE(extra);
        const auto path = deep + "/" + std::string(extra, 'f');
        CHECK(open_beneath(temp.fd(), path, O_WRONLY | O_CREAT, 0600));
        CHECK(error_of(open_beneath(temp.fd(), path + "/no", O_RDONLY)) == ENOTDIR);
    }
}

TEST_CASE("a name too long for the file system is ENAMETOOLONG, also without any slash") {
    TempDir temp;
    CHECK(error_of(open_beneath(temp.fd(), std::string(256, 'n'), O_RDONLY)) == ENAMETOOLONG);
    CHECK(error_of(open_beneath(temp.fd(), std::string(10'000, 'n'), O_RDONLY)) == ENAMETOOLONG);
}

TEST_CASE("no symlink is followed, wherever in the path it stands") {
    TempDir temp;
    REQUIRE(::mkdirat(temp.fd(), "real", 0755) == 0);
    REQUIRE(open_beneath(temp.fd(), "real/file", O_WRONLY | O_CREAT, 0600));
    REQUIRE(::symlinkat("real", temp.fd(), "link") == 0);
    REQUIRE(::symlinkat("real/file", temp.fd(), "file") == 0);

    CHECK(error_of(open_beneath(temp.fd(), "link/file", O_RDONLY)) == ELOOP);
    CHECK(error_of(open_beneath(temp.fd(), "file", O_RDONLY)) == ELOOP);
    CHECK(error_of(open_at(temp.fd(), "file", O_RDONLY)) == ELOOP);
    CHECK_FALSE(open_beneath(temp.fd(), "link", O_RDONLY | O_DIRECTORY));
    CHECK_FALSE(open_parent_beneath(temp.fd(), "link/file"));

    auto itself = open_beneath(temp.fd(), "file", O_PATH);
    REQUIRE(itself);
    CHECK(stat_fd(itself->get())->is_symlink());
}

TEST_CASE("a symlink beyond PATH_MAX is not followed either") {
    TempDir temp;
    const auto deep = test::make_deep_tree(temp.fd(), std::string(200, 'd'), 30);
    auto last = open_beneath(temp.fd(), deep, O_RDONLY | O_DIRECTORY);
    REQUIRE(last);
    REQUIRE(::symlinkat("/", last->get(), "out") == 0);
    CHECK(error_of(open_beneath(temp.fd(), deep + "/out/etc", O_RDONLY)) == ELOOP);
}

TEST_CASE("nothing outside the root is opened") {
    TempDir temp;
    REQUIRE(::mkdirat(temp.fd(), "sub", 0755) == 0);
    auto sub = open_at(temp.fd(), "sub", O_RDONLY | O_DIRECTORY);
    REQUIRE(sub);
    CHECK(error_of(open_beneath(sub->get(), "..", O_RDONLY)) == EXDEV);
    CHECK(error_of(open_beneath(sub->get(), "/etc/passwd", O_RDONLY)) == EXDEV);
    CHECK(error_of(open_beneath(sub->get(), "a/../../sub", O_RDONLY)) != 0);
    CHECK(error_of(open_beneath(sub->get(), std::string_view("a\0b", 3), O_RDONLY)) == EINVAL);
}

TEST_CASE("another file system mounted beneath the root is not entered") {
    TempDir temp;
    REQUIRE(::mkdirat(temp.fd(), "mnt", 0755) == 0);
    const auto target = temp.path() / "mnt";
    if (::mount("tmpfs", target.c_str(), "tmpfs", 0, "size=64k") != 0) {
        WARN("no mounting here: not tested");
        return;
    }
    const auto in_mount = error_of(open_beneath(temp.fd(), "mnt/x", O_WRONLY | O_CREAT, 0600));
    const auto removed = remove_tree_at(temp.fd(), "mnt");
    ::umount2(target.c_str(), MNT_DETACH);
    CHECK(in_mount == EXDEV);
    REQUIRE_FALSE(removed);
    CHECK(removed.error().value() == EXDEV);
}

TEST_CASE("the empty path is the directory itself, for O_PATH descriptors too") {
    TempDir temp;
    auto again = open_at(temp.fd(), "", O_PATH | O_DIRECTORY);
    REQUIRE(again);
    auto readable = open_beneath(again->get(), "", O_RDONLY | O_DIRECTORY);
    REQUIRE(readable);
    CHECK(read_dir(readable->get()));
    CHECK(stat_fd(readable->get())->object == stat_at(temp.fd(), "")->object);
    auto parent = open_parent_beneath(temp.fd(), "");
    REQUIRE(parent);
    CHECK(stat_fd(parent->get())->object == stat_fd(temp.fd())->object);
}

// What stat tells, modes and times, names in directories.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <set>

#include "common/os/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;
using tdfs::test::TempDir;

TEST_CASE("stat tells what the system's own stat tells") {
    TempDir temp;
    auto file = open_at(temp.fd(), "file", O_RDWR | O_CREAT, 0640);
    REQUIRE(file);
    REQUIRE(write_all(file->get(), as_bytes("hello"), 100'000));
    const auto info = stat_at(temp.fd(), "file");
    REQUIRE(info);

    struct stat expected {};
    REQUIRE(::fstatat(temp.fd(), "file", &expected, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK(info->object.ino == expected.st_ino);
    CHECK(info->device == expected.st_dev);
    CHECK(info->mode == expected.st_mode);
    CHECK(info->links == expected.st_nlink);
    CHECK(info->uid == expected.st_uid);
    CHECK(info->gid == expected.st_gid);
    CHECK(info->rdev == expected.st_rdev);
    CHECK(info->size == 100'005);
    CHECK(info->blocks == static_cast<std::uint64_t>(expected.st_blocks));
    CHECK(info->mtime_ns == expected.st_mtim.tv_sec * 1'000'000'000 + expected.st_mtim.tv_nsec);
    CHECK(stat_fd(file->get())->object == info->object);
}

TEST_CASE("a device's number comes back as it was given") {
    TempDir temp;
    const auto device = makedev(300, 70'000);
    if (::mknodat(temp.fd(), "dev", S_IFBLK | 0600, device) != 0) {
        WARN("no devices may be made here: not tested");
        return;
    }
    const auto info = stat_at(temp.fd(), "dev");
    REQUIRE(info);
    CHECK(info->rdev == device);
    CHECK(S_ISBLK(info->mode));
}

TEST_CASE("a bad descriptor is an error and never the current directory") {
    CHECK(stat_fd(-1).error().value() == EBADF);
    CHECK(stat_fd(AT_FDCWD).error().value() == EBADF);
    CHECK(set_mtime_fd(AT_FDCWD, 0).error().value() == EBADF);
}

TEST_CASE("a name that is not UTF-8 is made, listed, read and removed") {
    TempDir temp;
    const std::string name = "caf\xe9\xff\n\\ \x01";
    REQUIRE(open_at(temp.fd(), name, O_WRONLY | O_CREAT, 0600));
    REQUIRE(stat_at(temp.fd(), name));
    CHECK(open_beneath(temp.fd(), name, O_RDONLY));
    const auto names = read_dir(temp.fd());
    REQUIRE(names);
    REQUIRE(names->size() == 1);
    CHECK(names->front().name == name);
    REQUIRE(remove_tree_at(temp.fd(), name));
    CHECK(stat_at(temp.fd(), name).error().value() == ENOENT);
}

TEST_CASE("a symlink's target comes back byte for byte, however long") {
    TempDir temp;
    for (const std::size_t size : {1U, 511U, 512U, 513U, 4095U}) {
        CAPTURE(size);
        const std::string target(size, 't');
        REQUIRE(::symlinkat(target.c_str(), temp.fd(), "link") == 0);
        const auto read = read_link_at(temp.fd(), "link");
        REQUIRE(read);
        CHECK(*read == target);
        auto itself = open_at(temp.fd(), "link", O_PATH);
        REQUIRE(itself);
        CHECK(*read_link_at(itself->get(), "") == target);
        REQUIRE(::unlinkat(temp.fd(), "link", 0) == 0);
    }
}

TEST_CASE("a directory of many names is listed whole, and again") {
    TempDir temp;
    std::set<std::string> expected;
    for (int i = 0; i < 3000; ++i) expected.insert(std::to_string(i) + std::string(60, 'n'));
    for (const auto& name : expected) REQUIRE(open_at(temp.fd(), name, O_WRONLY | O_CREAT, 0600));
    for (int round = 0; round < 2; ++round) {
        const auto names = read_dir(temp.fd());
        REQUIRE(names);
        std::set<std::string> listed;
        for (const auto& entry : *names) {
            listed.insert(entry.name);
            CHECK((entry.type == DT_REG || entry.type == DT_UNKNOWN));
        }
        CHECK(listed == expected);
    }
}

TEST_CASE("the mode is changed through any descriptor, with all twelve bits") {
    TempDir temp;
    auto file = open_at(temp.fd(), "file", O_RDWR | O_CREAT, 0600);
    REQUIRE(file);
    REQUIRE(change_mode(file->get(), 0754));
    CHECK((stat_fd(file->get())->mode & 07777) == 0754);
    auto path_only = open_at(temp.fd(), "file", O_PATH);
    REQUIRE(path_only);
    REQUIRE(change_mode(path_only->get(), 06711));
    CHECK((stat_fd(file->get())->mode & 07777) == 06711);
}

TEST_CASE("the modification time is set to the nanosecond and the access time left alone") {
    TempDir temp;
    REQUIRE(open_at(temp.fd(), "file", O_RDWR | O_CREAT, 0600));
    REQUIRE(::symlinkat("nowhere", temp.fd(), "link") == 0);
    const auto before = stat_at(temp.fd(), "file");
    REQUIRE(before);

    for (const std::int64_t time :
         {std::int64_t{1'700'000'000'123'456'789}, std::int64_t{0}, std::int64_t{-1}, std::int64_t{-1'000'000'001}}) {
        CAPTURE(time);
        REQUIRE(set_mtime_at(temp.fd(), "file", time));
        CHECK(stat_at(temp.fd(), "file")->mtime_ns == time);
        REQUIRE(set_mtime_at(temp.fd(), "link", time));
        CHECK(stat_at(temp.fd(), "link")->mtime_ns == time);
        auto path_only = open_at(temp.fd(), "file", O_PATH);
        REQUIRE(path_only);
        REQUIRE(set_mtime_fd(path_only->get(), time + 5));
        CHECK(stat_at(temp.fd(), "file")->mtime_ns == time + 5);
    }
    CHECK(stat_at(temp.fd(), "file")->atime_ns == before->atime_ns);
    REQUIRE(set_mtime_at(temp.fd(), "", 42));
    CHECK(stat_fd(temp.fd())->mtime_ns == 42);
}

TEST_CASE("clocks go forward and the boot has a name") {
    const auto before = monotonic_ns();
    CHECK(monotonic_ns() >= before);
    CHECK(wall_clock_ns() > 1'700'000'000'000'000'000U);
    CHECK(boot_id() == boot_id());
    CHECK(boot_id().find('\n') == std::string::npos);
    CHECK_FALSE(boot_id().empty());
}

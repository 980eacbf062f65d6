// Extended attributes of every kind of object, by every kind of descriptor.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>

#include "common/os/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;
using tdfs::test::TempDir;

namespace {

// False, with a warning, where the machine does not let us (not root, or a file system without them).
bool usable(const SysResult<void>& set) {
    if (set) return true;
    if (set.error().value() != EOPNOTSUPP && set.error().value() != EPERM) FAIL(set.error().text());
    WARN("no such attributes here: not tested: " << set.error().text());
    return false;
}

}  // namespace

TEST_CASE("attributes of a file by a plain and by an O_PATH descriptor are the same") {
    TempDir temp;
    auto file = open_at(temp.fd(), "file", O_RDWR | O_CREAT, 0600);
    auto path_only = open_at(temp.fd(), "file", O_PATH);
    REQUIRE((file && path_only));
    if (!usable(set_xattr(file->get(), "user.b", as_bytes("two")))) return;
    REQUIRE(set_xattr(path_only->get(), "user.a", as_bytes(std::string_view("o\0ne", 4))));
    REQUIRE(set_xattr(path_only->get(), "user.empty", {}));

    for (const int fd : {file->get(), path_only->get()}) {
        CHECK(as_text(*get_xattr(fd, "user.b")) == "two");
        CHECK(as_text(*get_xattr(fd, "user.a")) == std::string_view("o\0ne", 4));
        CHECK(get_xattr(fd, "user.empty")->empty());
        CHECK(get_xattr(fd, "user.none").error().value() == ENODATA);
        CHECK(list_xattrs(fd)->size() >= 3);
        const auto all = read_all_xattrs(fd);
        REQUIRE(all);
        CHECK(std::is_sorted(all->begin(), all->end()));
    }
    CHECK(set_xattr(path_only->get(), "user.a", as_bytes("x"), XATTR_CREATE).error().value() == EEXIST);
    REQUIRE(remove_xattr(path_only->get(), "user.a"));
    CHECK(remove_xattr(file->get(), "user.a").error().value() == ENODATA);
}

TEST_CASE("a symlink has attributes of its own, and its target is not touched") {
    TempDir temp;
    REQUIRE(open_at(temp.fd(), "target", O_RDWR | O_CREAT, 0600));
    REQUIRE(::symlinkat("target", temp.fd(), "link") == 0);
    auto link = open_at(temp.fd(), "link", O_PATH);
    auto target = open_at(temp.fd(), "target", O_PATH);
    REQUIRE((link && target));
    if (!usable(set_xattr(link->get(), "trusted.mark", as_bytes("of the link")))) return;

    CHECK(as_text(*get_xattr(link->get(), "trusted.mark")) == "of the link");
    CHECK(get_xattr(target->get(), "trusted.mark").error().value() == ENODATA);
    REQUIRE(read_all_xattrs(link->get()));
    CHECK(read_all_xattrs(link->get())->size() == list_xattrs(link->get())->size());
    REQUIRE(remove_xattr(link->get(), "trusted.mark"));
    CHECK(get_xattr(link->get(), "trusted.mark").error().value() == ENODATA);
}

TEST_CASE("a large value and many names come back whole") {
    TempDir temp;
    auto file = open_at(temp.fd(), "file", O_RDWR | O_CREAT, 0600);
    REQUIRE(file);
    const std::string value(1500, 'v');
    if (!usable(set_xattr(file->get(), "user.large", as_bytes(value)))) return;
    CHECK(as_text(*get_xattr(file->get(), "user.large")) == value);
    for (int i = 0; i < 20; ++i) {
        REQUIRE(set_xattr(file->get(), "user.name-of-some-length-" + std::to_string(i), as_bytes("x")));
    }
    CHECK(list_xattrs(file->get())->size() >= 21);
}

TEST_CASE("an object without attributes, and one that cannot have any, give none") {
    TempDir temp;
    auto file = open_at(temp.fd(), "file", O_RDWR | O_CREAT, 0600);
    REQUIRE(file);
    const auto all = read_all_xattrs(file->get());
    REQUIRE(all);
    CHECK(hash_xattrs({}) == 0);
    auto proc = open_at(AT_FDCWD, "/proc/self/status", O_RDONLY);
    REQUIRE(proc);
    CHECK(read_all_xattrs(proc->get()));
}

TEST_CASE("the hash of attributes does not depend on their order but on every byte") {
    const auto bytes = [](std::string_view s) { return Bytes(as_bytes(s).begin(), as_bytes(s).end()); };
    using All = std::vector<std::pair<std::string, Bytes>>;
    const All one{{"user.a", bytes("1")}, {"user.b", bytes("2")}};
    const All turned{{"user.b", bytes("2")}, {"user.a", bytes("1")}};
    const All other{{"user.a", bytes("2")}, {"user.b", bytes("1")}};
    const All shifted{{"user.a1", bytes("")}, {"user.b", bytes("2")}};
    CHECK(hash_xattrs(one) == hash_xattrs(turned));
    CHECK(hash_xattrs(one) != hash_xattrs(other));
    CHECK(hash_xattrs(one) != hash_xattrs(shifted));
    CHECK(hash_xattrs(one) != 0);
}

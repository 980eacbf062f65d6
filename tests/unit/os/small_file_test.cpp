// Small files are replaced whole, and read with a bound.
#include <fcntl.h>
#include <sys/stat.h>

#include "common/os/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;
using tdfs::test::TempDir;

namespace {

constexpr std::size_t kLimit = 1 << 20;

std::string content_of(int dir, const std::string& name) {
    const auto content = read_file(dir, name, kLimit);
    REQUIRE(content);
    return std::string(as_text(*content));
}

}  // namespace

TEST_CASE("a replaced file has the new content and mode, and nothing is left beside it") {
    TempDir temp;
    REQUIRE(replace_file(temp.fd(), "file", as_bytes("first")));
    CHECK(content_of(temp.fd(), "file") == "first");
    CHECK((stat_at(temp.fd(), "file")->mode & 07777) == 0600);
    const auto before = stat_at(temp.fd(), "file")->object;

    const std::string large(200'000, 'x');
    REQUIRE(replace_file(temp.fd(), "file", as_bytes(large), 0666));
    CHECK(content_of(temp.fd(), "file") == large);
    CHECK((stat_at(temp.fd(), "file")->mode & 07777) == 0666);  // whatever the umask
    CHECK(stat_at(temp.fd(), "file")->object != before);
    CHECK(read_dir(temp.fd())->size() == 1);
}

TEST_CASE("what a crash left behind does not stand in the way") {
    TempDir temp;
    REQUIRE(::symlinkat("elsewhere", temp.fd(), "file.new") == 0);
    REQUIRE(replace_file(temp.fd(), "file", as_bytes("content")));
    CHECK(content_of(temp.fd(), "file") == "content");
    CHECK(read_dir(temp.fd())->size() == 1);
}

TEST_CASE("a file is replaced through an O_PATH descriptor of its directory") {
    TempDir temp;
    auto path_only = open_at(temp.fd(), "", O_PATH | O_DIRECTORY);
    REQUIRE(path_only);
    REQUIRE(replace_file(path_only->get(), "file", as_bytes("content")));
    CHECK(content_of(temp.fd(), "file") == "content");
}

TEST_CASE("a failed replacement keeps the old and leaves nothing behind") {
    TempDir temp;
    REQUIRE(::mkdirat(temp.fd(), "file", 0755) == 0);
    REQUIRE(::mkdirat(temp.fd(), "file/full", 0755) == 0);
    CHECK_FALSE(replace_file(temp.fd(), "file", as_bytes("content")));
    CHECK(stat_at(temp.fd(), "file")->is_dir());
    CHECK(read_dir(temp.fd())->size() == 1);
}

TEST_CASE("reading a file is bounded, and only regular files are read") {
    TempDir temp;
    REQUIRE(replace_file(temp.fd(), "file", as_bytes("0123456789")));
    CHECK(read_file(temp.fd(), "file", 10));
    CHECK(read_file(temp.fd(), "file", 9).error().value() == EFBIG);
    CHECK(read_file(temp.fd(), "none", 9).error().value() == ENOENT);
    REQUIRE(::mkfifoat(temp.fd(), "fifo", 0600) == 0);
    CHECK(read_file(temp.fd(), "fifo", 9).error().value() == EINVAL);
    REQUIRE(::mkdirat(temp.fd(), "dir", 0755) == 0);
    CHECK(read_file(temp.fd(), "dir", 9).error().value() == EISDIR);
    REQUIRE(::symlinkat("file", temp.fd(), "link") == 0);
    CHECK(read_file(temp.fd(), "link", 100).error().value() == ELOOP);
    CHECK(read_file(AT_FDCWD, "/proc/self/status", kLimit)->size() > 100);
}

#include "slave/fd_cache.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/slave/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

OwnFd some_fd() { return OwnFd(::open("/", O_PATH | O_CLOEXEC)); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

}  // namespace

TEST_CASE("the descriptor used longest ago is closed first") {
    FdCache cache(2);
    const int a = cache.add("a", some_fd());
    const int b = cache.add("b", some_fd());
    CHECK(cache.find("a") == a);
    cache.add("c", some_fd());
    CHECK(cache.find("a") == a);
    CHECK(cache.find("b") == -1);
    CHECK(cache.find("c") != -1);
    CHECK(cache.size() == 2);
    CHECK((b == cache.find("c") || !is_open(b)));
}

TEST_CASE("forgetting a directory forgets what is beneath it and nothing else") {
    FdCache cache(20);
    for (const char* path : {"a", "a/b", "a/b/c", "a/c", "a!", "a-b", "a0", "ab", "b/a", "a.d/e"})
        cache.add(path, some_fd());
    cache.forget_within("a");
    for (const char* gone : {"a", "a/b", "a/b/c", "a/c"}) CHECK(cache.find(gone) == -1);
    for (const char* kept : {"a!", "a-b", "a0", "ab", "b/a", "a.d/e"}) CHECK(cache.find(kept) != -1);
    cache.forget_within("");
    CHECK(cache.size() == 0);
}

TEST_CASE("adding a path again closes the old descriptor") {
    FdCache cache(3);
    cache.add("a", some_fd());
    const int fd = cache.add("a", some_fd());
    CHECK(cache.size() == 1);
    CHECK(cache.find("a") == fd);
    const OwnFd taken = cache.take("a");
    CHECK(taken.get() == fd);
    CHECK(cache.find("a") == -1);
    CHECK_FALSE(cache.take("a"));
}

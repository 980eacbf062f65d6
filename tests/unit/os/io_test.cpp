// Reading, writing, and where a sparse file has data.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <tuple>

#include "common/os/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;
using tdfs::test::TempDir;

namespace {

OwnFd new_file(const TempDir& temp) {
    auto file = open_at(temp.fd(), "file", O_RDWR | O_CREAT | O_EXCL, 0600);
    REQUIRE(file);
    return std::move(*file);
}

using Extent = std::tuple<std::uint64_t, std::uint64_t, bool>;

std::vector<Extent> extents(int fd, std::uint64_t offset, std::uint64_t end) {
    std::vector<Extent> all;
    REQUIRE(visit_extents(fd, offset, end, [&](std::uint64_t at, std::uint64_t length, bool data) {
        all.emplace_back(at, length, data);
        return true;
    }));
    return all;
}

// Restores the limit of a file's size, and what happens when it is reached.
class FileSizeLimit {
  public:
    explicit FileSizeLimit(rlim_t bytes) {
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
        handler_ = std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{bytes, before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    }
    FileSizeLimit(const FileSizeLimit&) = delete;
    FileSizeLimit& operator=(const FileSizeLimit&) = delete;
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, handler_);
    }

  private:
    rlimit before_{};
    void (*handler_)(int) = SIG_DFL;
};

}  // namespace

TEST_CASE("what is written is read, and the end of the file is told from an error") {
    TempDir temp;
    const auto file = new_file(temp);
    REQUIRE(write_all(file.get(), as_bytes("0123456789"), 5));

    Bytes out(10);
    REQUIRE(read_exact(file.get(), out, 5));
    CHECK(as_text(out) == "0123456789");
    CHECK(read_exact(file.get(), out, 6).error().value() == EIO);
    CHECK(*read_some(file.get(), out, 10) == 5);
    CHECK(*read_some(file.get(), out, 1000) == 0);
    CHECK(read_some(-1, out, 0).error().value() == EBADF);
    CHECK(write_all(file.get(), as_bytes("x"), ~std::uint64_t{0}).error().value() == EINVAL);
}

TEST_CASE("two pieces are written as one") {
    TempDir temp;
    const auto file = new_file(temp);
    for (const auto& [first, second] :
         {std::pair<std::string, std::string>{"head", "body"}, {"", "body"}, {"head", ""}}) {
        REQUIRE(::ftruncate(file.get(), 0) == 0);
        REQUIRE(write_all2(file.get(), as_bytes(first), as_bytes(second), 3));
        Bytes out(100);
        const auto got = read_some(file.get(), out, 3);
        REQUIRE(got);
        CHECK(as_text(ByteView(out).first(*got)) == first + second);
    }
}

TEST_CASE("a write that the system cuts short says how much it took, and then why") {
    TempDir temp;
    const auto file = new_file(temp);
    const Bytes data(4096, std::byte{7});
    const FileSizeLimit limit(6000);
    CHECK(*write_most(file.get(), data, 0) == 4096);
    CHECK(*write_most(file.get(), data, 4096) == 6000 - 4096);
    CHECK(write_most(file.get(), data, 6000).error().value() == EFBIG);
    CHECK(write_all(file.get(), data, 4096).error().value() == EFBIG);
    CHECK(write_all2(file.get(), ByteView(data).first(100), data, 5000).error().value() == EFBIG);
}

TEST_CASE("the data and the holes of a sparse file are told apart") {
    TempDir temp;
    const auto file = new_file(temp);
    constexpr std::uint64_t kMiB = 1024 * 1024;
    const Bytes data(kMiB, std::byte{1});
    REQUIRE(write_all(file.get(), data, 2 * kMiB));
    REQUIRE(::ftruncate(file.get(), 8 * kMiB) == 0);

    CHECK(extents(file.get(), 0, 8 * kMiB) ==
          std::vector<Extent>{{0, 2 * kMiB, false}, {2 * kMiB, kMiB, true}, {3 * kMiB, 5 * kMiB, false}});
    CHECK(extents(file.get(), 2 * kMiB + 5, 3 * kMiB - 5) == std::vector<Extent>{{2 * kMiB + 5, kMiB - 10, true}});
    CHECK(extents(file.get(), 0, 100) == std::vector<Extent>{{0, 100, false}});
    CHECK(extents(file.get(), 100 * kMiB, 101 * kMiB) == std::vector<Extent>{{100 * kMiB, kMiB, false}});
    CHECK(extents(file.get(), 5, 5).empty());
}

TEST_CASE("a visit of extents ends when the visitor has seen enough") {
    TempDir temp;
    const auto file = new_file(temp);
    REQUIRE(write_all(file.get(), as_bytes("data"), 1 << 20));
    int seen = 0;
    REQUIRE(visit_extents(file.get(), 0, 2 << 20, [&](std::uint64_t, std::uint64_t, bool) { return ++seen < 1; }));
    CHECK(seen == 1);
}

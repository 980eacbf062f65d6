// Removing trees: all of it, nothing else, at any depth.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/os/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/os/deep_tree.hpp"

using namespace tdfs;
using tdfs::test::TempDir;

namespace {

bool stands(int dir, const std::string& name) { return stat_at(dir, name).has_value(); }

void make_file(int dir, const std::string& path) { REQUIRE(open_beneath(dir, path, O_WRONLY | O_CREAT, 0600)); }

// Leaves room for a few more descriptors only.
class FewDescriptors {
  public:
    FewDescriptors() {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        const rlimit few{32, before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    }
    FewDescriptors(const FewDescriptors&) = delete;
    FewDescriptors& operator=(const FewDescriptors&) = delete;
    ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  private:
    rlimit before_{};
};

}  // namespace

TEST_CASE("a tree with all kinds of objects is removed, and its neighbours stay") {
    TempDir temp;
    REQUIRE(::mkdirat(temp.fd(), "tree", 0755) == 0);
    REQUIRE(::mkdirat(temp.fd(), "tree/empty", 0755) == 0);
    REQUIRE(::mkdirat(temp.fd(), "tree/full", 0000) == 0);
    REQUIRE(::mkdirat(temp.fd(), "outside", 0755) == 0);
    make_file(temp.fd(), "outside/file");
    make_file(temp.fd(), "tree/full/file");
    make_file(temp.fd(), "tree/\xff\xfe");
    REQUIRE(::symlinkat("../outside", temp.fd(), "tree/link") == 0);
    REQUIRE(::mkfifoat(temp.fd(), "tree/fifo", 0600) == 0);
    REQUIRE(::linkat(temp.fd(), "outside/file", temp.fd(), "tree/hard", 0) == 0);

    REQUIRE(remove_tree_at(temp.fd(), "tree"));
    CHECK_FALSE(stands(temp.fd(), "tree"));
    CHECK(stat_at(temp.fd(), "outside/file")->links == 1);
}

TEST_CASE("a symlink to a directory is removed and the directory stays") {
    TempDir temp;
    REQUIRE(::mkdirat(temp.fd(), "dir", 0755) == 0);
    make_file(temp.fd(), "dir/file");
    REQUIRE(::symlinkat("dir", temp.fd(), "link") == 0);
    REQUIRE(remove_tree_at(temp.fd(), "link"));
    CHECK_FALSE(stands(temp.fd(), "link"));
    CHECK(stands(temp.fd(), "dir/file"));
}

TEST_CASE("nothing there is no error, but a missing parent of it is") {
    TempDir temp;
    CHECK(remove_tree_at(temp.fd(), "nothing"));
    make_file(temp.fd(), "file");
    REQUIRE(remove_tree_at(temp.fd(), "file"));
    CHECK(remove_tree_at(temp.fd(), "file"));
    CHECK_FALSE(remove_tree_at(-1, "file"));
}

TEST_CASE("a tree far deeper than PATH_MAX and than the limit of open files is removed") {
    TempDir temp;
    const auto deep = test::make_deep_tree(temp.fd(), std::string(100, 'd'), 300);
    make_file(temp.fd(), deep + "/file");
    REQUIRE(::mkdirat(temp.fd(), (std::string(100, 'd') + "/side").c_str(), 0755) == 0);
    const FewDescriptors few;
    REQUIRE(remove_tree_at(temp.fd(), std::string(100, 'd')));
    CHECK(read_dir(temp.fd())->empty());
}

TEST_CASE("a wide tree is removed") {
    TempDir temp;
    REQUIRE(::mkdirat(temp.fd(), "tree", 0755) == 0);
    for (int i = 0; i < 300; ++i) {
        const auto name = "tree/" + std::to_string(i);
        REQUIRE(::mkdirat(temp.fd(), name.c_str(), 0755) == 0);
        make_file(temp.fd(), name + "/file");
    }
    REQUIRE(remove_tree_at(temp.fd(), "tree"));
    CHECK_FALSE(stands(temp.fd(), "tree"));
}

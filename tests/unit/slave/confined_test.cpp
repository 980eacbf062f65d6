// Whatever the stream says, nothing outside of the replica is touched, and nothing of the state directory.
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "tests/support/tree_compare.hpp"
#include "tests/unit/slave/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

// Every kind of record, naming `path` in each place it has for one.
std::vector<Record> all_at(std::string_view path) {
    std::vector<Record> all{file_at(path),
                            dir_at(path),
                            symlink_at(path, "x"),
                            link_of(path, "n1"),
                            link_of("other", path),
                            unlink_of(path),
                            rmdir_of(path),
                            rename_of(path, "n2"),
                            rename_of("other", path),
                            exchange_of(path, "other"),
                            exchange_of("other", path),
                            write_at(path, "evil"),
                            settled(path, 1)};
    FallocateRecord allocate;
    allocate.path = path;
    allocate.length = 100;
    all.emplace_back(allocate);
    CopyRangeRecord copy;
    copy.from_path = "other";
    copy.path = path;
    copy.length = 5;
    all.emplace_back(copy);
    copy.from_path = path;
    copy.path = "other";
    all.emplace_back(copy);
    AttributesRecord attributes;
    attributes.path = path;
    attributes.valid = AttributesRecord::kMode | AttributesRecord::kUid | AttributesRecord::kGid;
    attributes.mode = 0777;
    attributes.uid = 5;
    all.emplace_back(attributes);
    attributes.valid = AttributesRecord::kSize;
    all.emplace_back(attributes);
    SetXattrRecord set;
    set.path = path;
    set.name = "user.evil";
    set.mode = 0777;
    all.emplace_back(set);
    RemoveXattrRecord remove;
    remove.path = path;
    remove.name = "user.good";
    all.emplace_back(remove);
    return all;
}

struct Confined {
    TempDir dir;
    std::string outside = dir.dir("outside");
    std::string before = dir.dir("before");
    Bench bench{dir.dir("replica"), dir.dir("state")};
    Confined() {
        for (const auto& root : {outside, before}) {
            make_dir(root + "/sub");
            put(root + "/sub/file", "precious");
            put(root + "/file", "precious");
        }
        put(bench.root() + "/other", "other");
    }
    [[nodiscard]] std::string touched() const {
        CompareOptions options;
        options.times = false;
        return tree_differences(before, outside, options);
    }
};

}  // namespace

TEST_CASE("no record reaches through a symlink that stands in a parent") {
    Confined w;
    REQUIRE(w.bench.apply(symlink_at("out", w.outside)) == "");
    REQUIRE(w.bench.apply(dir_at("d")) == "");
    REQUIRE(w.bench.apply(symlink_at("d/up", "../../outside")) == "");
    for (const auto* path : {"out/file", "out/sub", "out/sub/file", "out/new", "d/up/file", "d/up/sub/new"}) {
        for (const auto& r : all_at(path)) {
            INFO(to_text(r));
            CHECK(w.bench.apply(r) != "");
        }
    }
    CHECK(w.touched() == "");
}

TEST_CASE("a symlink in the last place is not followed") {
    Confined w;
    REQUIRE(w.bench.apply(symlink_at("out", w.outside + "/file")) == "");
    REQUIRE(w.bench.apply(symlink_at("sub", w.outside + "/sub")) == "");
    for (const auto* path : {"out", "sub"}) {
        for (const auto& r : all_at(path)) static_cast<void>(w.bench.apply(r));
        if (!exists(w.bench.root() + "/" + path)) REQUIRE(w.bench.apply(symlink_at(path, w.outside + "/file")) == "");
    }
    CHECK(w.touched() == "");
}

TEST_CASE("a directory that was cached and then became a symlink is not followed") {
    Confined w;
    REQUIRE(w.bench.apply(dir_at("d")) == "");
    REQUIRE(w.bench.apply(file_at("d/file")) == "");
    REQUIRE(w.bench.apply(rename_of("d", "e")) == "");
    REQUIRE(w.bench.apply(symlink_at("d", w.outside)) == "");
    CHECK(w.bench.apply(write_at("d/file", "evil")) != "");
    CHECK(w.bench.apply(file_at("d/new")) != "");
    CHECK(w.touched() == "");
}

TEST_CASE("the state directory is refused, but for what lies on the stage") {
    Confined w;
    put(w.bench.root() + "/.tdfs/identity.json", "identity");
    for (const auto* path :
         {".tdfs", ".tdfs/stage", ".tdfs/identity.json", ".tdfs/new", ".tdfs/stage2", ".tdfs/journal/1"}) {
        for (const auto& r : all_at(path)) {
            INFO(to_text(r));
            CHECK_THAT(w.bench.apply(r), Catch::Matchers::StartsWith("refused"));
        }
    }
    CHECK(get(w.bench.root() + "/.tdfs/identity.json") == "identity");
    CHECK(w.bench.apply(file_at(".tdfs/stage/ok")) == "");
    CHECK(w.bench.apply(file_at(".tdfs2")) == "");
    CHECK(w.bench.apply(dir_at("d")) == "");
    CHECK(w.bench.apply(dir_at("d/.tdfs")) == "");  // only the root's is special
}

TEST_CASE("the root is not made, removed, moved or linked") {
    Confined w;
    CHECK(w.bench.apply(dir_at("")) != "");
    CHECK(w.bench.apply(rmdir_of("")) != "");
    CHECK(w.bench.apply(unlink_of("")) != "");
    CHECK(w.bench.apply(rename_of("", "x")) != "");
    CHECK(w.bench.apply(exchange_of("other", "")) != "");
    CHECK(w.bench.apply(write_at("", "x")) != "");
}

TEST_CASE("a device that the stream has made is never opened") {
    Confined w;
    CreateRecord device = file_at("dev");
    device.mode = S_IFBLK | 0600;
    device.rdev = 0xfff00fff;  // no such device: an open would say ENXIO
    REQUIRE(w.bench.apply(device) == "");
    CHECK_THAT(w.bench.apply(write_at("dev", "evil")), Catch::Matchers::ContainsSubstring("Invalid argument"));
    CopyRangeRecord copy;
    copy.from_path = "dev";
    copy.path = "other";
    copy.length = 5;
    CHECK_THAT(w.bench.apply(copy), Catch::Matchers::ContainsSubstring("Invalid argument"));
}

TEST_CASE("kinds of fallocate that shift content are refused") {
    Confined w;
    FallocateRecord collapse;
    collapse.path = "other";
    collapse.length = 4096;
    for (const std::uint32_t mode : {8U, 32U, 4U, 0x80000000U}) {
        collapse.mode = mode;
        CHECK_THAT(w.bench.apply(collapse), Catch::Matchers::StartsWith("refused"));
    }
}

TEST_CASE("a stage that leads elsewhere is not used") {
    const TempDir dir;
    const auto root = dir.dir("replica");
    const auto outside = dir.dir("outside");
    REQUIRE(::symlink(outside.c_str(), (root + "/.tdfs").c_str()) == 0);
    const auto fd = open_dir(root);
    ReplicaTree tree(fd.get(), {});
    CHECK_FALSE(tree.prepare_stage().has_value());
    CHECK_FALSE(exists(outside + "/stage"));
}

// Each record exactly once, whatever moment the process is killed at.
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <vector>

#include "tests/support/tree_compare.hpp"
#include "tests/unit/slave/fixture.hpp"
#include "tests/unit/slave/mini_master.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

// a (with a hard link a2) and b are files, d holds f, e is empty.
std::vector<Bytes> beginning() {
    SetXattrRecord set;
    set.path = "a";
    set.name = "user.good";
    set.value = as_bytes("1");
    set.mode = 0644;
    return {encoded(file_at("a")), encoded(write_at("a", "content of a")),
            encoded(set),          encoded(link_of("a", "a2")),
            encoded(file_at("b")), encoded(write_at("b", "content of b")),
            encoded(dir_at("d")),  encoded(file_at("d/f")),
            encoded(dir_at("e")),  encoded(file_at(".tdfs/stage/1"))};
}

std::vector<Record> every_kind() {
    FallocateRecord allocate;
    allocate.path = "a";
    allocate.mode = 3;
    allocate.offset = 2;
    allocate.length = 3;
    CopyRangeRecord copy;
    copy.from_path = "a";
    copy.path = "b";
    copy.offset = 3;
    copy.length = 5;
    AttributesRecord attributes;
    attributes.path = "a";
    attributes.valid = AttributesRecord::kAll & ~AttributesRecord::kSettled;
    attributes.mode = 04755;
    attributes.uid = 5;
    attributes.size = 6;
    attributes.mtime_ns = 77;
    SetXattrRecord set;
    set.path = "a";
    set.name = "user.new";
    set.value = as_bytes("v");
    set.mode = 0600;
    RemoveXattrRecord remove;
    remove.path = "a";
    remove.name = "user.good";
    CreateRecord fifo = file_at("p", 0600, 3, 4);
    fifo.mode = S_IFIFO | 0600;
    return {file_at("n", 04755, 7, 8),
            file_at("d/n"),
            dir_at("n", 02770, 7, 8),
            symlink_at("n", "target"),
            fifo,
            link_of("a", "n"),
            link_of("a", "d/n"),
            link_of(".tdfs/stage/1", "n"),
            unlink_of("a"),
            unlink_of("b"),
            unlink_of("d/f"),
            rmdir_of("e"),
            rename_of("a", "n"),
            rename_of("a", "b"),
            rename_of("b", "a"),
            rename_of("d", "n"),
            rename_of("d", "e"),
            rename_of("d/f", "e/f"),
            rename_of(".tdfs/stage/1", "n"),
            exchange_of("a", "b"),
            exchange_of("a", "d"),
            exchange_of("d", "e"),
            exchange_of("d/f", "a"),
            write_at("a", "written", 3),
            allocate,
            copy,
            attributes,
            settled("a", 99),
            set,
            remove,
            SyncRecord{}};
}

struct Sides {
    TempDir dir;
    std::string want = dir.dir("want"), want_state = dir.dir("want_state");
    std::string root = dir.dir("replica"), state = dir.dir("state");
    [[nodiscard]] std::string differences() const {
        CompareOptions options;
        options.times = false;
        options.skip_state = false;  // the stage too
        return tree_differences(want, root, options);
    }
};

void apply_all(const std::string& root, const std::string& state, const std::vector<Bytes>& records) {
    Bench bench(root, state);
    for (const auto& r : records) REQUIRE(bench.apply_encoded(r) == "");
}

}  // namespace

TEST_CASE("every kind of record takes effect once, killed before, after or between") {
    for (const auto& record : every_kind()) {
        const auto bytes = encoded(record);
        bool killed = true;
        for (int step = 1; killed; ++step) {
            INFO(to_text(record) << ", killed at step " << step);
            const Sides s;
            auto all = beginning();
            apply_all(s.root, s.state, all);
            all.push_back(bytes);
            apply_all(s.want, s.want_state, all);

            killed = killed_at_step(s.root, s.state, bytes, step);
            // And again in the same place, where the second try has so many steps.
            if (killed && killed_at_step(s.root, s.state, bytes, step)) {
                Bench bench(s.root, s.state);
                CHECK(bench.apply(record) == "");
            }
            CHECK(s.differences() == "");
        }
    }
}

TEST_CASE("a swap of two names by three renames survives a kill in each") {
    const std::vector<Bytes> swap{encoded(rename_of("a", "t")), encoded(rename_of("b", "a")),
                                  encoded(rename_of("t", "b"))};
    for (std::size_t at = 0; at < swap.size(); ++at) {
        for (int step = 1; step <= 3; ++step) {
            INFO("record " << at << ", step " << step);
            const Sides s;
            apply_all(s.root, s.state, beginning());
            for (std::size_t i = 0; i < swap.size(); ++i) {
                if (i == at) REQUIRE(killed_at_step(s.root, s.state, swap[i], step));
                Bench bench(s.root, s.state);
                REQUIRE(bench.apply_encoded(swap[i]) == "");
            }
            CHECK(get(s.root + "/a") == "content of b");
            CHECK(get(s.root + "/b") == "content of a");
            CHECK_FALSE(exists(s.root + "/t"));
        }
    }
}

TEST_CASE("after a kill, a foreign object is still not taken for our own") {
    const Sides s;
    apply_all(s.root, s.state, beginning());
    const auto create = encoded(file_at("n"));
    REQUIRE(killed_at_step(s.root, s.state, create, 1));  // noted, and not made
    put(s.root + "/n", "foreign");
    Bench bench(s.root, s.state);
    CHECK(bench.apply_encoded(create) != "");
    CHECK(get(s.root + "/n") == "foreign");
}

TEST_CASE("a storm with kills at random steps makes the tree the master has") {
    const auto seed = random_seed();
    const Sides s;
    MiniMaster master(s.want, seed);
    master.storm(1500);
    master.settle();
    const auto& records = master.records();
    std::mt19937_64 random(seed + 1);
    std::size_t kills = 0;
    for (bool done = false; !done;) {
        const auto lives = static_cast<int>(random() % 60);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            int steps = 0;
            ApplyOptions options;
            options.limits = {3, 2};  // small caches
            options.at_step = [&](ApplyStep) {
                if (steps++ == lives) ::kill(::getpid(), SIGKILL);
            };
            Bench bench(s.root, s.state, options);
            while (bench.state().point().count < records.size()) {
                if (!bench.apply_encoded(records[bench.state().point().count]).empty()) ::_exit(1);
            }
            ::_exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        done = WIFEXITED(status);
        if (done) REQUIRE(WEXITSTATUS(status) == 0);
        kills += done ? 0 : 1;
    }
    CHECK(kills > 0);
    CompareOptions options;
    // What is allocated and not written is a hole to tmpfs, until it is allocated once more: then it counts as written.
    struct statfs disk {};
    REQUIRE(::statfs(s.root.c_str(), &disk) == 0);
    options.holes = disk.f_type != TMPFS_MAGIC;
    CHECK(tree_differences(s.want, s.root, options) == "");
}

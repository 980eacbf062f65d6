// Is it really the same? Foreign changes on a replica are found, named and healed; nothing else is.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <set>
#include <sstream>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/e2e/storm/storm.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;
using Catch::Matchers::ContainsSubstring;
namespace fs = std::filesystem;

namespace {

constexpr int kDifferent = 1;
constexpr int kNotChecked = 5;

// Does `change` to the object and gives it its modification time back.
void keeping_time(const std::string& path, const std::function<void()>& change) {
    struct stat before {};
    REQUIRE(lstat(path.c_str(), &before) == 0);
    change();
    const timespec times[2] = {{0, UTIME_OMIT}, before.st_mtim};
    REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

void overwrite(const std::string& path, off_t offset, const std::string& text) {
    const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    CHECK(pwrite(fd, text.data(), text.size(), offset) == static_cast<ssize_t>(text.size()));
    close(fd);
}

// What `tdfsctl inspect` says: its exit status, and "path: kinds" for each slave that differs.
struct Inspected {
    int status = -1;
    std::set<std::string> found;   // "slave index:path:kinds"
    std::set<std::string> healed;  // likewise
    nlohmann::json answer;
    std::string text;
};

Inspected inspect(Cluster& cluster, const Words& words) {
    Words command{"--json", "inspect"};
    command.insert(command.end(), words.begin(), words.end());
    const Ran ran = cluster.ctl(command);
    Inspected result;
    result.status = ran.status;
    result.text = ran.out + ran.err;
    std::istringstream lines(ran.out);
    for (std::string line; std::getline(lines, line);) {
        const auto json = nlohmann::json::parse(line);
        if (json.contains("ok")) result.answer = json;
        const std::string event = json.value("event", "");
        if (event != "difference") continue;
        std::string slave = json.at("slave");
        for (std::size_t i = 0; i < cluster.slaves(); i++) {
            if (slave == "127.0.0.1:" + std::to_string(cluster.slave_port(i))) slave = std::to_string(i);
        }
        const std::string text =
            slave + ":" + json.at("path").get<std::string>() + ":" + json.at("kinds").get<std::string>();
        result.found.insert(text);
        if (json.at("healed") == true) result.healed.insert(text);
    }
    return result;
}

bool names(const std::set<std::string>& found, const std::string& path, const std::string& kind) {
    for (const auto& text : found) {
        if (text.rfind("1:" + path + ":", 0) == 0 && text.find(kind, 3 + path.size()) != std::string::npos) return true;
    }
    return false;
}

bool only_of_second(const std::set<std::string>& found) {
    for (const auto& text : found) {
        if (text.rfind("1:", 0) != 0) return false;
    }
    return true;
}

void make_tree(const std::string& root) {
    for (const std::string dir : {"/d", "/d/e", "/empty"}) REQUIRE(mkdir((root + dir).c_str(), 0755) == 0);
    for (int i = 0; i < 20; i++) write_to(root + "/d/file" + std::to_string(i), "content of file " + std::to_string(i));
    write_to(root + "/d/e/deep", "deep down");
    write_to(root + "/big", std::string(3'000'000, 'x'));
    write_to(root + "/one", "one object of two names");
    REQUIRE(link((root + "/one").c_str(), (root + "/d/two").c_str()) == 0);
    write_to(root + "/single", "one object of two names");
    REQUIRE(symlink("d/file1", (root + "/pointer").c_str()) == 0);
    REQUIRE(mkfifo((root + "/pipe").c_str(), 0600) == 0);
    REQUIRE(setxattr((root + "/single").c_str(), "user.colour", "blue", 4, 0) == 0);
}

struct Change {
    std::string path, kind;
    bool quick;  // seen without reading content
    std::function<void(const std::string& replica)> make;
};

std::vector<Change> all_changes() {
    return {
        {"big", "content", false,
         [](const std::string& r) { keeping_time(r + "/big", [&] { overwrite(r + "/big", 1'500'000, "FOREIGN"); }); }},
        {"big", "content", true, [](const std::string& r) { overwrite(r + "/big", 2'999'990, "FOREIGN"); }},
        {"d/file3", "size", true,
         [](const std::string& r) { keeping_time(r + "/d/file3", [&] { overwrite(r + "/d/file3", 100, "longer"); }); }},
        {"d/file4", "mode", true, [](const std::string& r) { REQUIRE(chmod((r + "/d/file4").c_str(), 0777) == 0); }},
        {"d/file5", "owner", true,
         [](const std::string& r) { REQUIRE(chown((r + "/d/file5").c_str(), 1234, 1234) == 0); }},
        {"d/file6", "mtime", true,
         [](const std::string& r) {
             const timespec times[2] = {{0, UTIME_OMIT}, {1'000'000'000, 1}};
             REQUIRE(utimensat(AT_FDCWD, (r + "/d/file6").c_str(), times, 0) == 0);
         }},
        {"single", "xattr", true,
         [](const std::string& r) { REQUIRE(setxattr((r + "/single").c_str(), "user.colour", "red", 3, 0) == 0); }},
        {"d/file7", "xattr", true,
         [](const std::string& r) { REQUIRE(setxattr((r + "/d/file7").c_str(), "user.extra", "red", 3, 0) == 0); }},
        {"d/file8", "type", true,
         [](const std::string& r) {
             REQUIRE(unlink((r + "/d/file8").c_str()) == 0);
             REQUIRE(mkdir((r + "/d/file8").c_str(), 0755) == 0);
             write_to(r + "/d/file8/inside", "foreign");
         }},
        {"empty", "type", true,
         [](const std::string& r) {
             REQUIRE(rmdir((r + "/empty").c_str()) == 0);
             write_to(r + "/empty", "a file now");
         }},
        {"pointer", "target", true,
         [](const std::string& r) {
             REQUIRE(unlink((r + "/pointer").c_str()) == 0);
             REQUIRE(symlink("elsewhere", (r + "/pointer").c_str()) == 0);
         }},
        {"pipe", "type", true,
         [](const std::string& r) {
             REQUIRE(unlink((r + "/pipe").c_str()) == 0);
             REQUIRE(mknod((r + "/pipe").c_str(), S_IFSOCK | 0600, 0) == 0);
         }},
        {"d/file9", "missing", true, [](const std::string& r) { REQUIRE(unlink((r + "/d/file9").c_str()) == 0); }},
        {"d", "missing", true, [](const std::string& r) { fs::remove_all(r + "/d"); }},
        {"extra", "extra", true, [](const std::string& r) { write_to(r + "/extra", "foreign"); }},
        {"more", "extra", true,
         [](const std::string& r) {
             fs::create_directories(r + "/more/and/more");
             write_to(r + "/more/and/more/file", "foreign");
         }},
        {"d/two", "links", true,
         [](const std::string& r) {
             keeping_time(r + "/one", [&] {
                 write_to(r + "/copy", read_file(r + "/one"));
                 REQUIRE(rename((r + "/copy").c_str(), (r + "/one").c_str()) == 0);
             });
         }},
        {"single", "links", true,
         [](const std::string& r) {
             REQUIRE(unlink((r + "/single").c_str()) == 0);
             REQUIRE(link((r + "/one").c_str(), (r + "/single").c_str()) == 0);
         }},
        {"d/two", "missing", true, [](const std::string& r) { REQUIRE(unlink((r + "/d/two").c_str()) == 0); }},
    };
}

}  // namespace

TEST_CASE("equal replicas are found equal, in quick and in full") {
    Cluster cluster({.slaves = 2});
    make_tree(cluster.mount());
    cluster.drain();
    for (const std::string depth : {"--quick", "--full"}) {
        const auto seen = inspect(cluster, {depth});
        INFO(seen.text);
        CHECK(seen.status == 0);
        CHECK(seen.answer.at("equal") == true);
        CHECK(seen.answer.at("files").get<int>() == 2 * 31);
        CHECK((seen.answer.at("bytes").get<int>() > 2 * 3'000'000) == (depth == "--full"));
    }
    const Ran people = cluster.ctl({"inspect"});
    CHECK(people.status == 0);
    CHECK_THAT(people.out, ContainsSubstring("31 objects"));
}

TEST_CASE("each kind of foreign change is found on the replica that has it, named, and healed") {
    Cluster cluster({.slaves = 2});
    make_tree(cluster.mount());
    cluster.drain();
    REQUIRE(cluster.differences() == "");
    for (const Change& change : all_changes()) {
        CAPTURE(change.path, change.kind);
        change.make(cluster.replica(1));
        const auto quick = inspect(cluster, {"--quick"});
        INFO(quick.text);
        CHECK(quick.status == (change.quick ? kDifferent : 0));
        CHECK(names(quick.found, change.path, change.kind) == change.quick);
        CHECK(only_of_second(quick.found));
        const auto full = inspect(cluster, {"--full"});
        INFO(full.text);
        CHECK(full.status == kDifferent);
        CHECK(names(full.found, change.path, change.kind));
        CHECK(only_of_second(full.found));
        const auto repair = inspect(cluster, {change.quick ? "--quick" : "--full", "--repair"});
        INFO(repair.text);
        CHECK(repair.status == kDifferent);
        CHECK(repair.found == repair.healed);
        CHECK(cluster.differences() == "");
        const auto after = inspect(cluster, {"--full"});
        INFO(after.text);
        CHECK(after.status == 0);
    }
    for (std::size_t i = 0; i < 2; i++) CHECK(cluster.peer(i).at("resyncs") == 1);  // the first sync
    CHECK(cluster.peer(0).at("hard_errors") == 0);
    CHECK(cluster.peer(1).at("hard_errors").get<int>() > 0);
    // The replay goes on as if nothing had been.
    write_to(cluster.mount() + "/one", "through both names");
    write_to(cluster.mount() + "/d/file9", "again");
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("only what is named is inspected and healed") {
    Cluster cluster;
    make_tree(cluster.mount());
    cluster.drain();
    write_to(cluster.replica() + "/extra", "foreign");
    fs::remove_all(cluster.replica() + "/d");
    CHECK(inspect(cluster, {"big", "empty"}).status == 0);
    const auto deep = inspect(cluster, {"--repair", cluster.mount() + "/d/e/deep"});
    INFO(deep.text);
    CHECK(deep.status == kDifferent);
    CHECK(read_file(cluster.replica() + "/d/e/deep") == "deep down");
    CHECK(fs::exists(cluster.replica() + "/extra"));
    CHECK(inspect(cluster, {"extra"}).status == kDifferent);
    CHECK(inspect(cluster, {"--repair", "."}).status == kDifferent);
    CHECK(cluster.differences() == "");
}

TEST_CASE("what cannot be compared is no difference, and says so") {
    Cluster cluster({.slaves = 2});
    make_tree(cluster.mount());
    cluster.drain();
    CHECK(inspect(cluster, {"no/such/name"}).status == kNotChecked);
    CHECK(inspect(cluster, {"../x"}).status == kNotChecked);
    CHECK(inspect(cluster, {".tdfs"}).status == kNotChecked);
    CHECK(inspect(cluster, {"--slave", "127.0.0.1:1"}).status == kNotChecked);
    CHECK(cluster.ctl({"inspect", "--quick", "--full"}).status == 2);
    CHECK(cluster.ctl({"inspect", "--rate", "fast"}).status == 2);
    const Ran own = run({program("tdfsctl"), "-m", cluster.replica(1), "inspect", "--full"});
    INFO(own.err);
    CHECK(own.status == 0);
    cluster.stop_slave(1);
    REQUIRE(eventually([&] { return cluster.peer(1).at("state") == "connecting"; }));
    CHECK(inspect(cluster, {}).status == kNotChecked);
    CHECK(inspect(cluster, {"--slave", "127.0.0.1:" + std::to_string(cluster.slave_port(0))}).status == 0);
    cluster.start_slave(1);
    cluster.wait_streaming();
    CHECK(inspect(cluster, {"--full"}).status == 0);
}

TEST_CASE("a storm causes no false alarms, and does not hide foreign changes") {
    Cluster cluster({.slaves = 2});
    make_tree(cluster.mount());
    const std::string root = cluster.mount() + "/storm";
    REQUIRE(mkdir(root.c_str(), 0777) == 0);
    REQUIRE(chmod(root.c_str(), 0777) == 0);
    Storm storm(root, {.seed = seed_for("inspect"), .pause_us = 200});
    std::uint64_t before = 0;
    for (std::size_t i = 0; i < scaled(6, 2); i++) {
        const auto quick = inspect(cluster, {"--quick"});
        INFO(quick.text);
        CHECK(quick.status == 0);
        const auto full = inspect(cluster, {"--full"});
        INFO(full.text);
        CHECK(full.status == 0);
        CHECK(storm.done() > before);  // writers go on
        before = storm.done();
    }
    for (std::size_t i = 0; i < 5; i++) {
        const std::string file = cluster.replica(1) + "/d/file" + std::to_string(i);
        keeping_time(file, [&] { overwrite(file, 0, "FOREIGN"); });
    }
    write_to(cluster.replica(1) + "/extra", "foreign");
    fs::remove_all(cluster.replica(1) + "/d/e");
    const auto repair = inspect(cluster, {"--full", "--repair"});
    INFO(repair.text);
    CHECK(repair.status == kDifferent);
    CHECK(repair.found == repair.healed);
    CHECK(only_of_second(repair.found));
    CHECK(names(repair.found, "d/file0", "content"));
    CHECK(names(repair.found, "extra", "extra"));
    CHECK(names(repair.found, "d/e", "missing"));
    const auto after = inspect(cluster, {"--full"});
    INFO(after.text);
    CHECK(after.status == 0);
    storm.stop();
    CHECK(storm.surprises() == "");
    cluster.drain();
    CHECK(cluster.differences() == "");
    for (std::size_t i = 0; i < 2; i++) CHECK(cluster.peer(i).at("resyncs") == 1);
}

TEST_CASE("a record that a foreign change stands against is healed without anybody's help") {
    Cluster cluster({.slaves = 2});
    make_tree(cluster.mount());
    cluster.drain();
    const std::string in = cluster.replica(1), out = cluster.mount();
    REQUIRE(unlink((in + "/d/file1").c_str()) == 0);
    write_to(out + "/d/file1", "written where nothing is");
    write_to(in + "/new", "in the way");
    write_to(out + "/new", "new");
    fs::remove_all(in + "/d/e");
    write_to(out + "/d/e/deeper", "in a directory that is not there");
    REQUIRE(unlink((in + "/d/file2").c_str()) == 0);
    REQUIRE(rename((out + "/d/file2").c_str(), (out + "/renamed").c_str()) == 0);
    REQUIRE(unlink((in + "/d/file3").c_str()) == 0);
    REQUIRE(unlink((out + "/d/file3").c_str()) == 0);
    write_to(in + "/empty/foreign", "not empty any more");
    REQUIRE(rmdir((out + "/empty").c_str()) == 0);
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer(0).at("hard_errors") == 0);
    CHECK(cluster.peer(1).at("hard_errors").get<int>() >= 5);
    CHECK(cluster.peer(1).at("state") == "streaming");
    for (std::size_t i = 0; i < 2; i++) CHECK(cluster.peer(i).at("resyncs") == 1);
    CHECK_FALSE(fs::exists(in + "/.tdfs/repairs"));
}

TEST_CASE("a replica in which others have changed too much for single repairs is compared as a whole") {
    constexpr int kFiles = 4'100;  // more than Healer::kMaxPaths
    Cluster cluster;
    REQUIRE(mkdir((cluster.mount() + "/many").c_str(), 0755) == 0);
    const auto name = [](const std::string& root, int i) { return root + "/many/" + std::to_string(i); };
    for (int i = 0; i < kFiles; i++) write_to(name(cluster.mount(), i), "");
    cluster.drain();
    const auto resyncs = cluster.peer().at("resyncs").get<int>();
    for (int i = 0; i < kFiles; i++) REQUIRE(unlink(name(cluster.replica(), i).c_str()) == 0);
    // All is there when the replay begins, so that no repair comes in between.
    REQUIRE(slave_ctl(cluster, "pause").status == 0);
    for (int i = 0; i < kFiles; i++) REQUIRE(chmod(name(cluster.mount(), i).c_str(), 0600) == 0);
    const auto tail = lsn_of(cluster.master_status().at("tail"));
    REQUIRE(eventually([&] { return lsn_of(cluster.slave_status().at("received")) >= tail; }));
    REQUIRE(slave_ctl(cluster, "resume").status == 0);
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("state") == "streaming");
    CHECK(cluster.peer().at("resyncs") == resyncs + 1);
    CHECK_FALSE(fs::exists(cluster.replica() + "/.tdfs/repairs"));
}

TEST_CASE("a repair that was begun goes on after a kill, and until then no position beyond it is claimed") {
    Cluster cluster;
    make_tree(cluster.mount());
    cluster.drain();
    const auto before = lsn_of(cluster.master_status().at("tail"));
    cluster.stop_master();  // nobody to repair from
    cluster.kill_slave();
    fs::remove_all(cluster.replica() + "/d");
    cluster.start_master();
    write_to(cluster.mount() + "/d/file1", "one");
    write_to(cluster.mount() + "/d/file2", "two");
    cluster.start_slave();
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(lsn_of(cluster.slave_status().at("applied")) > before);
}

TEST_CASE("scrubbing finds by itself what is different, and heals it where that is asked for") {
    for (const bool repair : {false, true}) {
        Words args{"--scrub", "100M"};
        if (repair) args.push_back("--scrub-repair");
        Cluster cluster({.slaves = 2, .master_args = args});
        make_tree(cluster.mount());
        cluster.drain();
        const std::string file = cluster.replica(1) + "/d/file1";
        keeping_time(file, [&] { overwrite(file, 0, "FOREIGN"); });
        const auto scrub = [&] { return cluster.master_status().at("scrub"); };
        REQUIRE(eventually([&] { return scrub().at("differences").get<int>() > 0; }));
        REQUIRE(eventually([&] { return scrub().at("passes").get<int>() > 0; }));
        CHECK(scrub().at("last_pass").get<std::int64_t>() > 0);
        CHECK(scrub().at("healed").get<int>() == (repair ? scrub().at("differences").get<int>() : 0));
        CHECK(read_file(file).rfind("FOREIGN", 0) == (repair ? std::string::npos : 0));
        CHECK_THAT(cluster.master_log(), ContainsSubstring("d/file1"));
        CHECK_THAT(cluster.ctl({"status"}).out, ContainsSubstring("scrub"));
    }
}

TEST_CASE("a slave killed in the middle of a repair is healed by the next one") {
    Cluster cluster;
    make_tree(cluster.mount());
    write_to(cluster.mount() + "/large", std::string(60'000'000, 'y'));
    cluster.drain();
    for (int i = 0; i < 3; i++) {
        REQUIRE(unlink((cluster.replica() + "/large").c_str()) == 0);
        fs::remove_all(cluster.replica() + "/d");
        Process ctl = Process::start({program("tdfsctl"), "-m", cluster.backing(), "inspect", "--repair", "--full"},
                                     cluster.scratch() + "/ctl.log");
        REQUIRE(eventually([&] { return fs::exists(cluster.replica() + "/large"); }));
        cluster.kill_slave();
        CHECK(ctl.wait(std::chrono::seconds(60)).value_or(0) != 0);
        write_to(cluster.mount() + "/meanwhile" + std::to_string(i), "written");
        cluster.start_slave();
        cluster.wait_streaming();
        const auto repair = inspect(cluster, {"--full", "--repair"});
        INFO(repair.text);
        CHECK(repair.found == repair.healed);
        cluster.drain();
        CHECK(cluster.differences() == "");
    }
    CHECK(cluster.peer().at("resyncs") == 1);
}

// Real programs work in the mount, and their results are on the replicas.

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <random>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/tree_compare.hpp"

using namespace tdfs::e2e;

namespace {

// True if the program is there. In CI it has to be; elsewhere the test case says what it misses and does nothing.
bool have(const std::string& tool) {
    if (have_tool(tool)) {
        return true;
    }
    if (std::getenv("CI") != nullptr) {
        FAIL(tool + " is not installed: scripts/deps.sh --test");
    }
    std::cout << "SKIPPED: " << tool << " is not installed (scripts/deps.sh --test)" << std::endl;
    return false;
}

// A shell script with its arguments; it must end well.
std::string must(const std::string& script, const Words& arguments = {}, const std::string& directory = "") {
    Words words{"sh", "-ec", script, "sh"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const Ran ran = run(words, directory, std::chrono::seconds(600));
    INFO(script << "\nstatus " << ran.status << "\n" << ran.out << ran.err);
    REQUIRE(ran.status == 0);
    return ran.out;
}

// Like the sources of a big program: `files` small files in nested directories, some symlinks, hard links and programs.
void make_source_tree(const std::string& root, std::size_t files) {
    REQUIRE(mkdir(root.c_str(), 0755) == 0);
    std::mt19937 random(4711);
    std::string dir;
    for (std::size_t i = 0; i < files; i++) {
        if (i % 25 == 0) {
            dir = root + "/part" + std::to_string(i / 1000);
            mkdir(dir.c_str(), 0755);
            dir += "/module" + std::to_string(i / 25);
            REQUIRE(mkdir(dir.c_str(), 0755) == 0);
        }
        const std::string name = dir + "/source_file_" + std::to_string(i) + (i % 3 == 0 ? ".hpp" : ".cpp");
        std::string text = "// file " + std::to_string(i) + "\n";
        for (std::size_t lines = random() % 120; lines > 0; lines--) {
            text += "int function_" + std::to_string(random() % 10'000) + "(int argument);\n";
        }
        std::ofstream(name, std::ios::binary) << text;
        if (i % 50 == 7) {
            REQUIRE(symlink(("source_file_" + std::to_string(i)).c_str(), (name + ".link").c_str()) == 0);
        } else if (i % 50 == 8) {
            REQUIRE(link(name.c_str(), (name + ".hard").c_str()) == 0);
        } else if (i % 50 == 9) {
            REQUIRE(chmod(name.c_str(), 0755) == 0);
        }
    }
}

void check_equal(Cluster& cluster) {
    cluster.drain();
    CHECK(cluster.differences() == "");
}

}  // namespace

TEST_CASE("tar unpacks a source tree of 20,000 files") {
    Cluster cluster({.slaves = 2, .compress = true});
    const std::string source = cluster.scratch() + "/source";
    make_source_tree(source, scaled(20'000, 1500));
    must(R"(tar -C "$1" --format=posix -cf - source | tar -C "$2" -xpf -)", {cluster.scratch(), cluster.mount()});
    check_equal(cluster);
    for (std::size_t i = 0; i < cluster.slaves(); i++) {
        CHECK(tdfs::test::tree_differences(source, cluster.replica(i) + "/source") == "");
    }
    must(R"(rm -r "$1"/source)", {cluster.mount()});
    check_equal(cluster);
}

TEST_CASE("rsync copies everything and then sees no difference, in the mount and on the replica") {
    if (!have("rsync")) {
        return;
    }
    Cluster cluster;
    const std::string source = cluster.scratch() + "/source";
    make_source_tree(source, scaled(3000, 300));
    must(R"(cd "$1"
        setfattr -n user.note -v text part0 2>/dev/null || true
        setfacl -m u:12345:rwX,d:g:54321:r part0 2>/dev/null || true
        chown -R 12345:54321 part0/module1
        mkfifo fifo
        truncate -s 10M sparse
        touch -d 2001-02-03T04:05:06.123456789 part0/module2)",
         {source});
    must(R"(rsync -aHAX "$1"/ "$2"/)", {source, cluster.mount()});
    check_equal(cluster);
    CHECK(must(R"(rsync -aHAXni "$1"/ "$2"/)", {source, cluster.mount()}) == "");
    CHECK(must(R"(rsync -aHAXni --delete --exclude=/.tdfs "$1"/ "$2"/)", {source, cluster.replica()}) == "");
    must(R"(rm -r "$1"/part0/module1; echo more >>"$1"/sparse; rsync -aHAX --delete --inplace "$1"/ "$2"/)",
         {source, cluster.mount()});
    check_equal(cluster);
    CHECK(must(R"(rsync -aHAXni --delete --exclude=/.tdfs "$1"/ "$2"/)", {source, cluster.replica()}) == "");
}

TEST_CASE("git clones, checks and packs a repository") {
    if (!have("git")) {
        return;
    }
    Cluster cluster;
    const std::string origin = cluster.scratch() + "/origin";
    make_source_tree(origin, scaled(2000, 300));
    const std::string git = R"(git() {
        command git -c user.name=tester -c user.email=tester@example.org -c safe.directory='*' -c gc.auto=0 "$@"
    }
    export HOME="$1" GIT_CONFIG_NOSYSTEM=1
    )";
    must(git + R"(cd "$1"; git init -q; git add .; git commit -qm first)", {origin});
    must(git + R"(git clone -q --no-hardlinks "file://$1" "$2/clone"
        cd "$2/clone"
        git fsck --full
        for n in 1 2 3; do echo $n >>part0/module0/source_file_0.hpp; git commit -qam "change $n"; done
        git branch other; git rm -qr part0/module1; git commit -qm removed; git checkout -q other
        git repack -qad; git gc -q --prune=now; git fsck --full; git status --porcelain)",
         {origin, cluster.mount()});
    check_equal(cluster);
    must(git + R"(git -C "$2" fsck --full; git -C "$2" log --oneline | grep -q 'change 3')",
         {origin, cluster.replica() + "/clone"});
}

namespace {

// A program of some files; with "make" and "ninja" the same compiler calls.
void make_project(const std::string& dir, std::size_t parts) {
    REQUIRE(mkdir(dir.c_str(), 0755) == 0);
    std::ofstream make(dir + "/Makefile"), ninja(dir + "/build.ninja"), main(dir + "/main.cpp");
    make << "CXXFLAGS = -O0 -MMD\nOBJECTS = main.o";
    ninja << "rule cc\n  command = g++ -O0 -MMD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  deps = gcc\n"
          << "rule ld\n  command = g++ $in -o $out\n";
    std::string objects = " main.o", calls;
    for (std::size_t i = 0; i < parts; i++) {
        const std::string n = std::to_string(i);
        std::ofstream(dir + "/part" + n + ".cpp")
            << "#include \"all.hpp\"\nint part" + n + "() { return " + n + "; }\n";
        std::ofstream(dir + "/all.hpp", std::ios::app) << "int part" + n + "();\n";
        make << " part" << n << ".o";
        ninja << "build part" << n << ".o: cc part" << n << ".cpp\n";
        objects += " part" + n + ".o";
        calls += " + part" + n + "()";
    }
    main << "#include \"all.hpp\"\nint main() { return (0" << calls << ") % 100; }\n";
    make << "\nprogram: $(OBJECTS)\n\tg++ -o $@ $^\nclean:\n\trm -f program *.o *.d\n-include *.d\n";
    ninja << "build main.o: cc main.cpp\nbuild program: ld" << objects << "\n";
}

}  // namespace

TEST_CASE("make and ninja build a program") {
    if (!have("make") || !have("ninja") || !have("g++")) {
        return;
    }
    Cluster cluster;
    const std::string project = cluster.mount() + "/project";
    const std::size_t parts = scaled(20, 4);
    make_project(project, parts);
    const std::string result = std::to_string(parts * (parts - 1) / 2 % 100);
    must(R"(make -j2 program; ! ./program || [ "$1" = 0 ]; ./program || [ $? = "$1" ])", {result}, project);
    CHECK(must("make program", {}, project).find("up to date") != std::string::npos);
    check_equal(cluster);
    must(R"(make clean; ninja -j2 program; ./program || [ $? = "$1" ]; touch all.hpp; ninja program)", {result},
         project);
    CHECK(must("ninja program", {}, project).find("no work to do") != std::string::npos);
    check_equal(cluster);
    must(R"(./program || [ $? = "$1" ])", {result}, cluster.replica() + "/project");
}

// A prefix of the writes is what a crash leaves, so the database on the replica is sound at every moment.
TEST_CASE("a database under load is sound on the replica at any time") {
    if (!have("sqlite3")) {
        return;
    }
    Cluster cluster;
    const std::string db = cluster.mount() + "/data.db";
    must(R"(sqlite3 "$1" 'PRAGMA journal_mode=WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, writer INT, v TEXT);')",
         {db});
    cluster.drain();
    const std::string load = R"(i=0
        while [ ! -e "$3" ]; do
            i=$((i+1))
            echo "BEGIN IMMEDIATE; INSERT INTO t (writer, v) VALUES ($2, hex(randomblob(300)));"
            echo "UPDATE t SET v = v || '$i' WHERE id % 7 = $i % 7 AND id > (SELECT max(id) - 50 FROM t);"
            echo "DELETE FROM t WHERE id < (SELECT max(id) - 500 FROM t); COMMIT;"
            [ $((i % 40)) != 0 ] || echo "PRAGMA wal_checkpoint(TRUNCATE);"
        done | sqlite3 -cmd '.timeout 60000' "$1" >/dev/null)";
    const std::string done = cluster.scratch() + "/done", log = cluster.scratch() + "/load.log";
    std::vector<Process> writers;
    for (const char* writer : {"1", "2"}) {
        writers.push_back(Process::start({"sh", "-ec", load, "sh", db, writer, done}, log));
    }
    const std::string copy = cluster.scratch() + "/copy";
    const std::string check = R"(rm -rf "$2"; mkdir "$2"; cp "$1"/data.db* "$2"; rm -f "$2"/data.db-shm
        sqlite3 "$2"/data.db 'PRAGMA integrity_check; SELECT count(*) > 0 FROM t;')";
    REQUIRE(eventually([&] { return must(check, {cluster.mount(), copy}) == "ok\n1\n"; }));
    cluster.drain();
    for (std::size_t i = 0; i < scaled(25, 5); i++) {
        usleep(30'000);
        cluster.freeze_slave();
        CHECK(must(check, {cluster.replica(), copy}) == "ok\n1\n");
        cluster.thaw_slave();
    }
    std::ofstream{done};
    for (Process& writer : writers) {
        CHECK(writer.wait(patience()) == 0);
    }
    INFO(read_file(log));
    CHECK(must(R"(sqlite3 "$1" 'PRAGMA integrity_check; PRAGMA wal_checkpoint(TRUNCATE);')", {db}) == "ok\n0|0|0\n");
    check_equal(cluster);
    CHECK(must(check, {cluster.replica(), copy}) == "ok\n1\n");
}

TEST_CASE("stress-ng's file stressors verify what they do") {
    if (!have("stress-ng")) {
        return;
    }
    Cluster cluster;
    for (const std::string stressor :
         {"access",    "chdir",   "chmod",     "chown",   "copy-file", "dentry", "dir",     "dirdeep",   "dirmany",
          "fallocate", "fcntl",   "filename",  "flock",   "fpunch",    "fsize",  "getdent", "hdd",       "iomix",
          "link",      "lockf",   "locka",     "lockofd", "metamix",   "mknod",  "open",    "readahead", "rename",
          "seek",      "symlink", "sync-file", "unlink",  "utime",     "xattr"}) {
        const Ran ran = run({"stress-ng", "--quiet", "--verify", "--temp-path", cluster.mount(), "--" + stressor, "2",
                             "--timeout", "1", "--" + stressor + "-ops", std::to_string(scaled(300, 50))},
                            "", std::chrono::seconds(120));
        INFO(stressor << "\nstatus " << ran.status << "\n" << ran.out << ran.err);
        // 3: this machine lacks something for it
        const bool unknown = ran.err.find("unrecognized option '--" + stressor) != std::string::npos;
        CHECK((ran.status == 0 || ran.status == 3 || unknown));
    }
    check_equal(cluster);
}

TEST_CASE("fio finds what it wrote") {
    if (!have("fio")) {
        return;
    }
    Cluster cluster({.compress = true});
    const std::string size = std::to_string(scaled(48, 8)) + "m";
    const std::string common =
        R"(fio --minimal --directory="$1" --size="$2" --verify=crc32c --verify_fatal=1 --do_verify=1 \
        --randseed=4711 --fallocate=none --group_reporting --end_fsync=1 )";
    must(common + "--name=sequential --rw=write --bs=128k --ioengine=psync", {cluster.mount(), size});
    must(common + "--name=random --rw=randwrite --bsrange=512-64k --ioengine=psync --numjobs=2",
         {cluster.mount(), size});
    must(common + "--name=direct --rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=8",
         {cluster.mount(), "8m"});
    must(common + "--name=mapped --rw=randwrite --bs=4k --ioengine=mmap", {cluster.mount(), "8m"});
    check_equal(cluster);
}

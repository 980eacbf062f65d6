// Requests over io_uring instead of /dev/fuse: the same answers, and the same end.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/rings.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/e2e/storm/storm.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;

namespace {

const Words kRings{"--io-uring", "on"};

bool comes_by_rings(const Cluster& cluster) { return cluster.master_status().at("fuse").at("io_uring") == 1; }

// Content of which no two pieces are the same.
std::string numbers(std::size_t bytes) {
    std::string text;
    for (std::size_t i = 0; text.size() < bytes; ++i) text += std::to_string(i) + " ";
    text.resize(bytes);
    return text;
}

}  // namespace

TEST_CASE("requests of every size come over io_uring, from every core") {
    if (!RingsOn::possible()) return;
    const RingsOn on;
    Cluster cluster({.master_args = kRings});
    CHECK(comes_by_rings(cluster));
    for (const std::size_t size :
         {0u, 1u, 4095u, 4096u, 4097u, 100'000u, (1u << 20) - 1, 1u << 20, (1u << 20) + 1, 5u << 20}) {
        const std::string content = numbers(size);
        const std::string file = cluster.mount() + "/" + std::to_string(size);
        for (unsigned core = 0; core < std::thread::hardware_concurrency(); ++core) {
            const OnCore there(core);
            write_to(file, content);
            // Past the kernel's cache, in one request where it fits.
            const int fd = ::open(file.c_str(), O_RDONLY | O_DIRECT);
            std::string read(size + 4096, '\0');
            std::size_t got = 0;
            for (ssize_t n = 1; n > 0;) {
                n = ::read(fd, read.data() + got, read.size() - got);
                if (n > 0) got += static_cast<std::size_t>(n);
            }
            ::close(fd);
            read.resize(got);
            CHECK(read == content);
        }
    }
    const std::string names = cluster.mount() + "/names";
    std::filesystem::create_directory(names);
    for (int i = 0; i < 3000; ++i) write_to(names + "/" + std::string(200, 'n') + std::to_string(i), "");
    CHECK(std::distance(std::filesystem::directory_iterator(names), {}) == 3000);
    cluster.drain();
    CHECK(cluster.differences() == "");
    cluster.stop_master();
}

TEST_CASE("a storm over io_uring surprises nobody, and its replica is equal") {
    if (!RingsOn::possible()) return;
    const RingsOn on;
    Cluster cluster({.master_args = kRings});
    const std::string root = cluster.mount() + "/storm";
    std::filesystem::create_directory(root);
    Storm storm(root, {.seed = seed_for("storm"), .operations = scaled(6000, 500)});
    storm.wait();
    CHECK(storm.surprises() == "");
    cluster.drain();
    CHECK(cluster.differences() == "");
    cluster.stop_master();
    CHECK(cluster.differences() == "");
}

TEST_CASE("a master that is asked over io_uring and killed goes on over its dead mount") {
    if (!RingsOn::possible()) return;
    const RingsOn on;
    Cluster cluster({.master_args = kRings});
    const std::string root = cluster.mount() + "/storm";
    std::filesystem::create_directory(root);
    Storm storm(root, {.seed = seed_for("storm"), .may_fail = true});
    for (std::size_t n = 0; n < scaled(20, 5); ++n) {
        const std::uint64_t upto = storm.done() + 200;
        REQUIRE(eventually([&] { return storm.done() >= upto; }));
        cluster.kill_master();
        cluster.start_master();
    }
    cluster.wait_streaming();
    storm.stop();
    CHECK(storm.surprises() == "");
    cluster.drain();
    CHECK(cluster.differences() == "");
    CHECK(cluster.peer().at("resyncs") == 0);
}

TEST_CASE("io_uring that is switched off while a mount uses it ends nothing") {
    if (!RingsOn::possible()) return;
    const RingsOn on;
    Cluster cluster({.master_args = kRings});
    write_to(cluster.mount() + "/before", "content");
    RingsOn::switch_off();
    for (unsigned core = 0; core < std::thread::hardware_concurrency(); ++core) {
        const OnCore there(core);
        write_to(cluster.mount() + "/after", "content");
        CHECK(read_file(cluster.mount() + "/after") == "content");
    }
    CHECK(cluster.master_log().find("switched off while this mount uses it") != std::string::npos);
    cluster.drain();
    CHECK(cluster.differences() == "");
    cluster.stop_master();
}

TEST_CASE("io_uring that is wanted and cannot be had is refused, else requests come over /dev/fuse") {
    if (!RingsOn::possible() || RingsOn::are_on()) return;
    ClusterOptions options;
    options.slaves = 0;
    options.start = false;
    Cluster cluster(options);
    Words command = cluster.master_command();
    command.insert(command.end() - 1, kRings.begin(), kRings.end());
    const Ran refused = run(command);
    CHECK(refused.status == 1);
    CHECK(refused.err.find("enable_uring") != std::string::npos);
    cluster.start_master();
    CHECK(!comes_by_rings(cluster));
    write_to(cluster.mount() + "/file", "content");
    CHECK(read_file(cluster.mount() + "/file") == "content");
    cluster.stop_master();
}

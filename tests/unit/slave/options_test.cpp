#include "slave/options.hpp"

#include <fstream>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/unit/slave/fixture.hpp"

using namespace tdfs;

namespace {

std::variant<SlaveOptions, Advice> parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "tdfs_slave");
    return parse_slave_options(static_cast<int>(arguments.size()), arguments.data());
}

std::string address_of(std::string_view text) {
    const auto parsed = parse_listen_address(text);
    return parsed ? parsed->address + " " + parsed->port : "wrong";
}

}  // namespace

TEST_CASE("a slave needs only its directory") {
    const auto parsed = parse({"-m", "dir"});
    const auto* options = std::get_if<SlaveOptions>(&parsed);
    REQUIRE(options != nullptr);
    CHECK(options->directory == "dir");
    CHECK(options->address == "127.0.0.1");
    CHECK(options->port == "4710");
    CHECK(options->nodelay);
    CHECK_FALSE(options->foreground);
    CHECK_FALSE(options->adopt);
    CHECK(options->apply_workers == 1);
}

TEST_CASE("all options of a slave are taken over") {
    const auto parsed = parse({"-m",
                               "dir",
                               "-l",
                               "10.0.0.1:99",
                               "-n",
                               "-f",
                               "--adopt",
                               "--state-dir",
                               "s",
                               "--spool-limit",
                               "2M",
                               "--keep-spool=1G",
                               "--divergent-limit",
                               "500M:7",
                               "--apply-workers",
                               "32",
                               "--segment-bytes",
                               "4096",
                               "--log-file",
                               "l",
                               "--log-level",
                               "debug"});
    const auto* options = std::get_if<SlaveOptions>(&parsed);
    REQUIRE(options != nullptr);
    CHECK(options->address == "10.0.0.1");
    CHECK(options->port == "99");
    CHECK_FALSE(options->nodelay);
    CHECK(options->foreground);
    CHECK(options->adopt);
    CHECK(options->state_dir == "s");
    CHECK(options->spool_limit_bytes == 2 << 20);
    CHECK(options->keep_spool_bytes == 1 << 30);
    CHECK(options->divergent.bytes == 500 << 20);
    CHECK(options->divergent.objects == 7);
    CHECK(options->apply_workers == 32);
    CHECK(options->segment_bytes == 4096);
    CHECK(options->log_file == "l");
    CHECK(options->log_level == "debug");
}

TEST_CASE("a wrong command line ends in one line of advice") {
    const std::vector<std::vector<const char*>> wrong{
        {},
        {"-m"},
        {"-m", "d", "-m", "e"},
        {"-m", "d", "extra"},
        {"-m", "d", "-x"},
        {"-m", "d", "--nonsense"},
        {"-m", "d", "-l", "host:port"},
        {"-m", "d", "-l", "1:70000"},
        {"-m", "d", "--spool-limit", "much"},
        {"-m", "d", "--spool-limit", "1"},
        {"-m", "d", "--log-level", "loud"},
        {"-m", "d", "--apply-workers", "0"},
        {"-m", "d", "--apply-workers", "33"},
        {"-m", "d", "--apply-workers", "99999999999999999999"},
        {"-m", "d", "--apply-workers", "-1"},
        {"-m", "d", "--apply-workers", "4x"},
        {"-m", "d", "--divergent-limit", "much"},
        {"-m", "d", "--divergent-limit", "1G:"},
        {"-m", "d", "--divergent-limit", "1G:0"},
        {"-m", "d", "--divergent-limit", "1G:99999999999999999999"},
    };
    for (const auto& arguments : wrong) {
        const auto parsed = parse(arguments);
        const auto* advice = std::get_if<Advice>(&parsed);
        REQUIRE(advice != nullptr);
        INFO(advice->text);
        CHECK(advice->exit_status == 2);
        CHECK(advice->text.find('\n') == std::string::npos);
        CHECK(advice->text.rfind("tdfs_slave: ", 0) == 0);
    }
}

TEST_CASE("help and version are no mistakes") {
    for (const char* option : {"-h", "--help", "--version"}) {
        const auto parsed = parse({option});
        const auto* advice = std::get_if<Advice>(&parsed);
        REQUIRE(advice != nullptr);
        CHECK(advice->exit_status == 0);
        CHECK(advice->text.back() == '\n');
    }
}

TEST_CASE("addresses to listen on, in all their forms") {
    CHECK(address_of("4711") == "127.0.0.1 4711");
    CHECK(address_of(":4711") == "127.0.0.1 4711");
    CHECK(address_of("0.0.0.0") == "0.0.0.0 4710");
    CHECK(address_of("host.example:1") == "host.example 1");
    CHECK(address_of("[::1]:5") == "::1 5");
    CHECK(address_of("[::1]") == "::1 4710");
    CHECK(address_of("::") == ":: 4710");
    for (const char* text : {"", ":", "a:", "a:b", "[::1", "[]:1", "[::1]5", "70000", ":70000"}) {
        INFO(text);
        CHECK(address_of(text) == "wrong");
    }
}

TEST_CASE("sizes with units of 1024") {
    CHECK(parse_size("0") == 0);
    CHECK(parse_size("17") == 17);
    CHECK(parse_size("3k") == 3072);
    CHECK(parse_size("4GiB") == 4ull << 30);
    CHECK(parse_size("1TB") == 1ull << 40);
    for (const char* text : {"", "-1", "G", "1X", "1Gi", "20000000T", "99999999999999999999", "1 G"}) {
        INFO(text);
        CHECK_FALSE(parse_size(text));
    }
}

TEST_CASE("a slave's options may stand in a file, and the command line wins") {
    const test::TempDir dir;
    const auto file = dir / "slave.toml";
    std::ofstream(file) << "directory = '/d'\nlisten = '10.0.0.1:99'\nadopt = true\nspool-limit = '2M'\n";
    const auto parsed = parse({"--config", file.c_str(), "-l", "127.0.0.1:7"});
    const auto* options = std::get_if<SlaveOptions>(&parsed);
    REQUIRE(options != nullptr);
    CHECK(options->directory == "/d");
    CHECK(options->address == "127.0.0.1");
    CHECK(options->adopt);
    CHECK(options->spool_limit_bytes == 2 << 20);
}

#include "master/options.hpp"

#include <fstream>
#include <string>

#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;

namespace {
std::variant<MasterOptions, Advice> parse(std::vector<std::string> words) {
    words.insert(words.begin(), "tdfs");
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    return parse_master_options(static_cast<int>(words.size()), argv.data());
}
std::string advice(std::vector<std::string> words) {
    const auto parsed = parse(std::move(words));
    REQUIRE(std::holds_alternative<Advice>(parsed));
    CHECK(std::get<Advice>(parsed).exit_status == 2);
    CHECK(std::get<Advice>(parsed).text.find('\n') == std::string::npos);
    return std::get<Advice>(parsed).text;
}
}  // namespace

TEST_CASE("the options of TDFS r3 mean what they meant") {
    const auto parsed = parse({"-m", "/d", "-c", "a", "-c", "b:99", "-c", "[::1]:7", "-z", "1", "-n", "-f", "/mnt"});
    REQUIRE(std::holds_alternative<MasterOptions>(parsed));
    const auto& o = std::get<MasterOptions>(parsed);
    CHECK(o.directory == "/d");
    CHECK(o.mountpoint == "/mnt");
    REQUIRE(o.slaves.size() == 3);
    CHECK(o.slaves[0].text() == "a:4710");
    CHECK(o.slaves[1].text() == "b:99");
    CHECK(o.slaves[2].text() == "[::1]:7");
    CHECK(o.compress);
    CHECK_FALSE(o.nodelay);
    CHECK(o.foreground);
}

TEST_CASE("--writeback takes an interval, or has one of its own") {
    const auto interval = [](std::vector<std::string> words) {
        const auto parsed = parse(std::move(words));
        REQUIRE(std::holds_alternative<MasterOptions>(parsed));
        CHECK(std::get<MasterOptions>(parsed).mountpoint == "/mnt");
        return std::get<MasterOptions>(parsed).writeback_ms;
    };
    CHECK(interval({"-m", "/d", "/mnt"}) == 0);
    CHECK(interval({"-m", "/d", "--writeback", "/mnt"}) == 200);
    CHECK(interval({"-m", "/d", "--writeback=50", "/mnt"}) == 50);
}

TEST_CASE("--stay-awake is decided by the machine unless it is said") {
    const auto said = [](std::vector<std::string> words) {
        const auto parsed = parse(std::move(words));
        REQUIRE(std::holds_alternative<MasterOptions>(parsed));
        return std::get<MasterOptions>(parsed).stay_awake;
    };
    CHECK(said({"-m", "/d", "/mnt"}) == std::nullopt);
    CHECK(said({"-m", "/d", "--stay-awake", "auto", "/mnt"}) == std::nullopt);
    CHECK(said({"-m", "/d", "--stay-awake", "on", "/mnt"}) == true);
    CHECK(said({"-m", "/d", "--stay-awake", "off", "/mnt"}) == false);
}

TEST_CASE("--io-uring is decided by the kernel unless it is said, and goes with neither --sync nor --writeback") {
    const auto options = [](std::vector<std::string> words) {
        const auto parsed = parse(std::move(words));
        REQUIRE(std::holds_alternative<MasterOptions>(parsed));
        return std::get<MasterOptions>(parsed);
    };
    CHECK(options({"-m", "/d", "/mnt"}).io_uring == std::nullopt);
    CHECK(options({"-m", "/d", "/mnt"}).allows_io_uring());
    CHECK(options({"-m", "/d", "--io-uring", "on", "/mnt"}).io_uring == true);
    CHECK(options({"-m", "/d", "--io-uring", "off", "--writeback", "/mnt"}).io_uring == false);
    CHECK(!options({"-m", "/d", "--writeback", "/mnt"}).allows_io_uring());
    CHECK(!options({"-m", "/d", "-c", "a", "--sync", "1", "/mnt"}).allows_io_uring());
}

TEST_CASE("each mistake on the command line gets one line that names it") {
    using Catch::Matchers::ContainsSubstring;
    CHECK_THAT(advice({}), ContainsSubstring("-m DIR"));
    CHECK_THAT(advice({"-m", "/d"}), ContainsSubstring("MOUNTPOINT"));
    CHECK_THAT(advice({"-m", "/d", "/m", "/n"}), ContainsSubstring("/n"));
    CHECK_THAT(advice({"-m", "/d", "-c", "a:b", "/m"}), ContainsSubstring("a:b"));
    CHECK_THAT(advice({"-m", "/d", "-c", ":4710", "/m"}), ContainsSubstring(":4710"));
    CHECK_THAT(advice({"-m", "/d", "-c", "a:70000", "/m"}), ContainsSubstring("a:70000"));
    CHECK_THAT(advice({"-m", "/d", "-c", "a", "-c", "a:4710", "/m"}), ContainsSubstring("twice"));
    CHECK_THAT(advice({"-m", "/d", "-z", "2", "/m"}), ContainsSubstring("-z"));
    CHECK_THAT(advice({"-m", "/d", "--segment-bytes", "7", "/m"}), ContainsSubstring("segment-bytes"));
    CHECK_THAT(advice({"-m", "/d", "-c", "a", "--sync", "2", "/m"}), ContainsSubstring("-c names 1"));
    CHECK_THAT(advice({"-m", "/d", "-c", "a", "--sync", "1:now", "/m"}), ContainsSubstring("now"));
    CHECK_THAT(advice({"-m", "/d", "-c", "a", "--sync-timeout", "3", "/m"}), ContainsSubstring("--sync K"));
    CHECK_THAT(advice({"-m", "/d", "-c", "a", "--sync", "1", "--sync-timeout", "x", "/m"}), ContainsSubstring("x"));
    CHECK_THAT(advice({"-m", "/d", "--stay-awake", "yes", "/m"}), ContainsSubstring("yes"));
    CHECK_THAT(advice({"-m", "/d", "--io-uring", "yes", "/m"}), ContainsSubstring("yes"));
    CHECK_THAT(advice({"-m", "/d", "--io-uring", "on", "--writeback", "/m"}), ContainsSubstring("--writeback"));
    CHECK_THAT(advice({"-m", "/d", "-c", "a", "--sync", "1", "--io-uring", "on", "/m"}), ContainsSubstring("--sync"));
    CHECK_THAT(advice({"-m", "/d", "--retain-age", "0", "/m"}), ContainsSubstring("--retain-age"));
    CHECK_THAT(advice({"-m", "/d", "--reserve", "much", "/m"}), ContainsSubstring("much"));
    CHECK_THAT(advice({"-m", "/d", "--writeback=9", "/m"}), ContainsSubstring("--writeback"));
    CHECK_THAT(advice({"-m", "/d", "--writeback=soon", "/m"}), ContainsSubstring("soon"));
    CHECK_THAT(advice({"-m", "/d", "--nonsense", "/m"}), ContainsSubstring("nonsense"));
}

TEST_CASE("a master's options may stand in a file, and the command line wins") {
    using Catch::Matchers::ContainsSubstring;
    const test::TempDir dir;
    const auto file = (dir.path() / "tdfs.toml").string();
    std::ofstream(file)
        << "directory = '/d'\nmountpoint = '/m'\nslave = ['a', 'b:99']\ncompress = 1\nforeground = true\n";
    const auto parsed = parse({"--config", file, "-c", "other", "-z", "0"});
    REQUIRE(std::holds_alternative<MasterOptions>(parsed));
    const auto& o = std::get<MasterOptions>(parsed);
    CHECK(o.directory == "/d");
    CHECK(o.mountpoint == "/m");
    REQUIRE(o.slaves.size() == 1);
    CHECK(o.slaves[0].text() == "other:4710");
    CHECK_FALSE(o.compress);
    CHECK(o.foreground);
    std::ofstream(file) << "direktory = '/d'\n";
    CHECK_THAT(advice({"--config", file, "/m"}), ContainsSubstring(file) && ContainsSubstring("direktory"));
    std::ofstream(file) << "directory = \n";
    CHECK_THAT(advice({"--config", file, "/m"}), ContainsSubstring(file + ":1"));
    CHECK_THAT(advice({"--config", file + "x", "/m"}), ContainsSubstring(file + "x"));
}

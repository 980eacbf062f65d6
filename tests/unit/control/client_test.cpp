// Finding a daemon, and saying why there is none.
#include "common/control/client.hpp"

#include <filesystem>

#include "common/daemon/guards.hpp"
#include "tests/unit/control/fake_daemon.hpp"

using namespace tdfs;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;
using tdfs::test::FakeDaemon;
using tdfs::test::TempDir;

namespace {

constexpr std::chrono::seconds kLong{60};

std::string no_daemon(const std::string& dir, const std::string& state = "") {
    const auto client = ControlClient::connect(dir, state);
    REQUIRE_FALSE(client);
    CHECK(client.error().code == ControlExit::kNoDaemon);
    CHECK(client.error().text.find('\n') == std::string::npos);
    return client.error().text;
}

}  // namespace

TEST_CASE("the daemon of a directory is found and asked") {
    FakeDaemon daemon;
    for (const auto& name : {daemon.directory().string(), daemon.directory().string() + "/"}) {
        auto client = ControlClient::connect(name, "");
        REQUIRE(client);
        const auto answer = client->ask({{"cmd", "echo"}, {"text", "hello"}}, kLong);
        REQUIRE(answer);
        CHECK((*answer)["text"] == "hello");
    }
    CHECK(ControlClient::connect("", (daemon.directory() / ".tdfs").string()));
    CHECK(ControlClient::connect("/somewhere/else", (daemon.directory() / ".tdfs").string()));
}

TEST_CASE("a daemon whose directory is covered by its mount is found by the run directory") {
    const auto run = open_run_directory();
    if (!run) {
        WARN("not tested: " << run.error());
        return;
    }
    FakeDaemon daemon;
    const auto canonical = canonical_path(daemon.directory());
    REQUIRE(canonical);
    daemon.start({{run->get(), run_socket_name(*canonical)}});
    std::filesystem::remove_all(daemon.directory() / ".tdfs");  // what the mount hides
    std::filesystem::create_directory_symlink(".", daemon.directory() / "link");
    CHECK(ControlClient::connect(daemon.directory(), ""));
    CHECK(ControlClient::connect(daemon.directory() / "link", ""));
}

TEST_CASE("why there is no daemon is told in words") {
    const TempDir temp;
    const auto dir = temp.path().string();
    CHECK_THAT(no_daemon(dir + "/none"), ContainsSubstring("/none does not exist"));
    REQUIRE(replace_file(temp.fd(), "file", as_bytes("x")));
    CHECK_THAT(no_daemon(dir + "/file"), ContainsSubstring("is not a directory"));
    CHECK_THAT(no_daemon(dir), ContainsSubstring("is no tdfs directory"));
    std::filesystem::create_directory(temp.path() / ".tdfs");
    CHECK(no_daemon(dir) == "no daemon runs on " + dir);
    CHECK_THAT(no_daemon(dir, dir + "/state"), ContainsSubstring("/state is no state directory"));
    CHECK(no_daemon(dir, dir + "/.tdfs") == "no daemon runs on " + dir);
    CHECK(no_daemon("", dir + "/.tdfs") == "no daemon runs on " + dir + "/.tdfs");
}

TEST_CASE("what the daemon refuses keeps its words and its code") {
    FakeDaemon daemon;
    auto client = ControlClient::connect(daemon.directory(), "");
    REQUIRE(client);
    const auto failed = client->ask({{"cmd", "unheard of"}}, kLong);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == ControlExit::kFailed);
    CHECK(failed.error().text == "unknown command");
    const auto late = client->ask({{"cmd", "wait"}, {"timeout_ms", 1}}, kLong);
    REQUIRE_FALSE(late);
    CHECK(late.error().code == ControlExit::kTimedOut);
}

TEST_CASE("a daemon that does not answer, or ends instead, is told from one that refuses") {
    FakeDaemon daemon;
    auto client = ControlClient::connect(daemon.directory(), "");
    REQUIRE(client);
    const auto silent = client->ask({{"cmd", "wait"}}, std::chrono::milliseconds(20));
    REQUIRE_FALSE(silent);
    CHECK(silent.error().code == ControlExit::kTimedOut);

    auto second = ControlClient::connect(daemon.directory(), "");
    REQUIRE(second);
    daemon.stop();
    const auto ended = second->ask({{"cmd", "status"}}, kLong);
    REQUIRE_FALSE(ended);
    CHECK(ended.error().code == ControlExit::kNoDaemon);
}

TEST_CASE("lines before the answer are handed on in order") {
    FakeDaemon daemon;
    auto client = ControlClient::connect(daemon.directory(), "");
    REQUIRE(client);
    std::vector<std::string> lines;
    REQUIRE(client->ask({{"cmd", "log"}}, kLong, [&](const json& line) { lines.push_back(line["line"]); }));
    CHECK(lines == std::vector<std::string>{"record 0", "record 1", "record 2"});
}

// tdfsctl as a program: what it prints and how it ends.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "common/control/status.hpp"
#include "tests/support/programs.hpp"
#include "tests/unit/control/fake_daemon.hpp"

using namespace tdfs;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using nlohmann::json;
using tdfs::test::FakeDaemon;
using tdfs::test::TempDir;

namespace {

struct Run {
    int status = -1;
    std::string out;
    std::string err;
};

std::string quoted(const std::string& word) { return "'" + word + "'"; }  // no test word holds a quote

Run tdfsctl(const std::vector<std::string>& words) {
    const TempDir temp;
    auto command = quoted(test::built_programs() + "/tdfsctl");
    for (const auto& word : words) command += " " + quoted(word);
    command += " 2>" + quoted(temp.path() / "err") + " >" + quoted(temp.path() / "out") + " </dev/null";
    const int status = std::system(command.c_str());
    REQUIRE(WIFEXITED(status));
    Run run;
    run.status = WEXITSTATUS(status);
    run.out = as_text(*read_file(temp.fd(), "out", 1 << 20));
    run.err = as_text(*read_file(temp.fd(), "err", 1 << 20));
    return run;
}

void check_usage_error(const std::vector<std::string>& words, const std::string& advice) {
    CAPTURE(words);
    const auto run = tdfsctl(words);
    CHECK(run.status == 2);
    CHECK(run.out.empty());
    CHECK_THAT(run.err, StartsWith("tdfsctl: ") && ContainsSubstring(advice) && ContainsSubstring("--help"));
    CHECK(run.err.find('\n') == run.err.size() - 1);
}

json slave_status() {
    SlaveStatus status;
    status.version = "9.9";
    status.state = "streaming";
    return status_to_json(status);
}

}  // namespace

TEST_CASE("help and version need no daemon") {
    for (const std::string flag : {"-h", "--help"}) {
        const auto run = tdfsctl({flag});
        CHECK(run.status == 0);
        CHECK_THAT(run.out, StartsWith("usage: tdfsctl -m DIR") && ContainsSubstring("exit status: 0 done, 1 "));
        CHECK(run.err.empty());
    }
    const auto run = tdfsctl({"version"});
    CHECK(run.status == 0);
    CHECK_THAT(run.out, StartsWith("tdfsctl "));
}

TEST_CASE("a wrong command line ends in one line of advice and status 2") {
    check_usage_error({}, "which command");
    check_usage_error({"-m", "/x"}, "which command");
    check_usage_error({"status"}, "-m DIR");
    check_usage_error({"-m", "/x", "dance"}, "unknown command \"dance\"");
    check_usage_error({"-m", "/x", "status", "twice"}, "\"twice\" is one too many");
    check_usage_error({"-m", "/x", "status", "--follow"}, "--follow does not go with status");
    check_usage_error({"-m", "/x", "stop", "--position", "1:2"}, "--position does not go with stop");
    check_usage_error({"-m", "/x", "wait"}, "--position EPOCH:LSN");
    check_usage_error({"-m", "/x", "wait", "--position", "12"}, "--position EPOCH:LSN");
    check_usage_error({"-m", "/x", "log", "--from", "0x10"}, "--from takes a number");
    check_usage_error({"-m", "/x", "log", "--to", "-1"}, "--to takes a number");
    for (const std::string timeout : {"0", "-1", "nan", "inf", "5s", "", "1e9"}) {
        check_usage_error({"-m", "/x", "drain", "--timeout=" + timeout}, "timeout");
    }
    check_usage_error({"--no-such-option", "status"}, "no-such-option");
    check_usage_error({"status", "-m"}, "m");
}

TEST_CASE("no daemon is status 3") {
    const TempDir temp;
    std::filesystem::create_directory(temp.path() / ".tdfs");
    const auto run = tdfsctl({"-m", temp.path(), "status"});
    CHECK(run.status == 3);
    CHECK(run.err == "tdfsctl: no daemon runs on " + temp.path().string() + "\n");
    const auto as_json = tdfsctl({"-m", temp.path(), "--json", "status"});
    CHECK(as_json.status == 3);
    CHECK(json::parse(as_json.out)["code"] == 3);
}

TEST_CASE("status prints a table, or the daemon's own JSON") {
    FakeDaemon daemon(slave_status());
    const auto run = tdfsctl({"-m", daemon.directory(), "status"});
    CHECK(run.status == 0);
    CHECK_THAT(run.out, StartsWith("slave of volume") && ContainsSubstring("state       streaming"));
    const auto as_json = tdfsctl({"status", "--json", "-m", daemon.directory()});
    CHECK(as_json.status == 0);
    CHECK(json::parse(as_json.out) == slave_status());
    const auto by_state = tdfsctl({"-S", daemon.directory() / ".tdfs", "status"});
    CHECK(by_state.status == 0);
}

TEST_CASE("drain passes the slaves and the time on, and says where it got") {
    FakeDaemon daemon;
    const auto run = tdfsctl({"-m", daemon.directory(), "drain", "a:1", "b", "--timeout", "2.5"});
    CHECK(run.status == 0);
    CHECK(run.out == "drained at 00000000000000ff:42\n");
    const auto as_json =
        json::parse(tdfsctl({"-m", daemon.directory(), "drain", "a:1", "b", "--timeout", "2.5", "--json"}).out);
    CHECK(as_json["asked"] == json{{"cmd", "drain"}, {"slaves", {"a:1", "b"}}, {"timeout_ms", 2500}});
}

TEST_CASE("what the daemon refuses is status 1, what it has no time for is status 4") {
    FakeDaemon daemon(json{{"error", "not now"}, {"code", 1}});
    const auto refused = tdfsctl({"-m", daemon.directory(), "status"});
    CHECK(refused.status == 1);
    CHECK(refused.err == "tdfsctl: not now\n");
    const auto late =
        tdfsctl({"-m", daemon.directory(), "wait", "--position", "00000000000000ff:42", "--timeout", "0.001"});
    CHECK(late.status == 4);
    CHECK(late.err == "tdfsctl: not applied in time\n");
}

TEST_CASE("log prints one record a line") {
    FakeDaemon daemon;
    const auto run = tdfsctl({"-m", daemon.directory(), "log", "--from", "0", "--to", "100"});
    CHECK(run.status == 0);
    CHECK(run.out == "record 0\nrecord 1\nrecord 2\n");
    const auto as_json = tdfsctl({"-m", daemon.directory(), "log", "--json"});
    CHECK_THAT(as_json.out, StartsWith("{\"line\":\"record 0\"}\n"));
}

TEST_CASE("version tells the daemon's, too") {
    FakeDaemon daemon(slave_status());
    CHECK_THAT(tdfsctl({"-m", daemon.directory(), "version"}).out, ContainsSubstring("daemon 9.9\n"));
}

TEST_CASE("stop waits until the process is gone, and no longer than it may") {
    FakeDaemon alive;  // this very process, which does not end
    const auto late = tdfsctl({"-m", alive.directory(), "stop", "--timeout", "0.05"});
    CHECK(late.status == 4);
    CHECK_THAT(late.err, ContainsSubstring("has not ended yet"));
    alive.stop();

    const TempDir temp;
    std::filesystem::create_directory(temp.path() / ".tdfs");
    const auto state = open_at(temp.fd(), ".tdfs", O_RDONLY | O_DIRECTORY);
    REQUIRE(state);
    const pid_t daemon = ::fork();
    REQUIRE(daemon >= 0);
    if (daemon == 0) {
        std::atomic<bool> told = false;
        {
            const auto server =
                ControlServer::listen({{state->get(), kControlSocketName}}, [&](const ControlRequest&) -> json {
                    told = true;
                    return {{"ok", true}};
                });
            test::await([&] { return told.load(); });
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
        ::_exit(0);
    }
    test::await([&] { return connect_to(state->get(), kControlSocketName).has_value(); });
    const auto stopped = tdfsctl({"-m", temp.path(), "stop"});
    int status = -1;
    const bool ended = ::waitpid(daemon, &status, WNOHANG) == daemon;
    if (!ended) {
        ::kill(daemon, SIGKILL);
        ::waitpid(daemon, &status, 0);
    }
    CHECK(ended);
    CHECK(stopped.status == 0);
    CHECK(stopped.out == "stopped\n");
}

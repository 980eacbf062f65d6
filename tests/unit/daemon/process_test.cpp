// Signals, limits, memory, log files.
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include <spdlog/spdlog.h>

#include "common/daemon/daemon.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;
using Catch::Matchers::ContainsSubstring;
using tdfs::test::TempDir;

namespace {

// Gives the test's thread back as it was.
class SignalsBlocked {
  public:
    SignalsBlocked() {
        ::pthread_sigmask(SIG_SETMASK, nullptr, &before_);
        block_signals();
    }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;
    ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  private:
    sigset_t before_{};
};

class DefaultLog {
  public:
    DefaultLog() : before_(spdlog::default_logger()) {}
    DefaultLog(const DefaultLog&) = delete;
    DefaultLog& operator=(const DefaultLog&) = delete;
    ~DefaultLog() { spdlog::set_default_logger(before_); }

  private:
    std::shared_ptr<spdlog::logger> before_;
};

std::string text_of(const std::filesystem::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("SIGTERM and SIGINT end the waiting, whichever comes") {
    const SignalsBlocked blocked;
    for (const int signal : {SIGTERM, SIGINT}) {
        REQUIRE(::kill(::getpid(), signal) == 0);
        CHECK(wait_for_signal_or(-1));
    }
}

TEST_CASE("a readable descriptor ends the waiting, and SIGHUP does not") {
    const SignalsBlocked blocked;
    const OwnFd event(::eventfd(1, EFD_CLOEXEC));
    REQUIRE(event);
    REQUIRE(::kill(::getpid(), SIGHUP) == 0);
    CHECK_FALSE(wait_for_signal_or(event.get()));
}

TEST_CASE("the limit of open files is raised as far as it goes") {
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const rlimit low{64, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
    CHECK(raise_open_file_limit() == before.rlim_max);
    rlimit after{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &after) == 0);
    CHECK(after.rlim_cur == before.rlim_max);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}

TEST_CASE("memory that is used is counted") {
    const auto before = anonymous_memory_bytes();
    CHECK(before > 0);
    std::vector<char> block(64 << 20);
    std::memset(block.data(), 1, block.size());
    CHECK(anonymous_memory_bytes() > before + (32 << 20));
}

TEST_CASE("a log goes to its file, from its level on, and to the new file after a rotation") {
    const TempDir temp;
    const DefaultLog before;
    const auto file = temp.path() / "log";
    REQUIRE(start_logging("tdfs", false, file, "info"));
    spdlog::debug("unseen");
    spdlog::info("event: lsn={}", 42);
    CHECK_THAT(text_of(file), ContainsSubstring("tdfs info: event: lsn=42\n"));
    CHECK_THAT(text_of(file), !ContainsSubstring("unseen"));

    std::filesystem::rename(file, temp.path() / "log.1");
    reopen_log();
    spdlog::info("after");
    CHECK_THAT(text_of(file), ContainsSubstring("tdfs info: after\n"));
    CHECK_THAT(text_of(temp.path() / "log.1"), !ContainsSubstring("after\n"));
}

TEST_CASE("a log file is not for everybody, whatever the umask") {
    const TempDir temp;
    const DefaultLog before;
    const auto mask = ::umask(0);
    const auto started = start_logging("tdfs", false, temp.path() / "log", "info");
    ::umask(mask);
    REQUIRE(started);
    struct stat info {};
    REQUIRE(::stat((temp.path() / "log").c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0640);
}

TEST_CASE("a wrong level or a log file that cannot be is one line of error") {
    const DefaultLog before;
    CHECK_THAT(start_logging("tdfs", true, "", "loud").error(), ContainsSubstring("error, warn, info, debug"));
    const auto started = start_logging("tdfs", true, "/proc/none/log", "info");
    REQUIRE_FALSE(started);
    CHECK_THAT(started.error(), ContainsSubstring("/proc/none/log"));
    CHECK(started.error().find('\n') == std::string::npos);
}

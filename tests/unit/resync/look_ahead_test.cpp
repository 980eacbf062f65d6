// Which directories are read ahead of a walk, as inotify tells.
#include "common/resync/look_ahead.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "common/os/fd.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

constexpr std::uint64_t kSlow = 1'000'000'000;

// Directories d0, d1, ..., and who opens one.
struct Watched {
    explicit Watched(int n) : events(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
        for (int i = 0; i < n; ++i) {
            const auto name = "d" + std::to_string(i);
            const auto path = dir.dir(name);
            names[::inotify_add_watch(events.get(), path.c_str(), IN_OPEN)] = name;
        }
    }
    // Those that were opened, once there are `enough`, or after a while (which is for a test that fails).
    std::set<std::string> opened(std::size_t enough) {
        std::set<std::string> found;
        while (found.size() < enough) {
            pollfd p{events.get(), POLLIN, 0};
            if (::poll(&p, 1, 60'000) != 1) break;
            alignas(inotify_event) std::array<char, 65536> buffer;
            const auto got = ::read(events.get(), buffer.data(), buffer.size());
            for (ssize_t at = 0; at < got;) {
                const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
                found.insert(names[event->wd]);
                at += static_cast<ssize_t>(sizeof *event + event->len);
            }
        }
        return found;
    }

    TempDir dir;
    OwnFd events;
    std::map<int, std::string> names;
};

}  // namespace

TEST_CASE("what is in memory is left to the walk") {
    Watched w(3);
    LookAhead ahead(w.dir.fd());
    for (const auto& [watch, name] : w.names) ahead.soon(name);
    ahead.took(LookAhead::kQuickNs - 1, 0);
    ahead.took(LookAhead::kQuickNs + 999 * LookAhead::kQuickNsOfAName, 1000);
    CHECK_FALSE(ahead.active());
}

TEST_CASE("from a slow directory on, those that the walk has not reached are read ahead, also what comes later") {
    Watched w(20);
    LookAhead ahead(w.dir.fd());
    for (int i = 0; i < 10; ++i) ahead.soon("d" + std::to_string(i));
    ahead.took(kSlow, 0);
    CHECK(ahead.active());
    for (int i = 10; i < 20; ++i) ahead.soon("d" + std::to_string(i));
    auto found = w.opened(19);
    CHECK(found.size() == 19);
    CHECK_FALSE(found.contains("d0"));
}

TEST_CASE("what the walk has passed is not read any more") {
    Watched w(10);
    LookAhead ahead(w.dir.fd());
    for (int i = 0; i < 10; ++i) ahead.soon("d" + std::to_string(i));
    for (int i = 0; i < 8; ++i) ahead.took(0, 0);
    ahead.took(kSlow, 0);
    CHECK(w.opened(1) == std::set<std::string>{"d9"});
}

TEST_CASE("a directory that is not there, or is none, is the walk's to find out") {
    Watched w(1);
    std::ofstream(w.dir / "file") << "no directory";
    LookAhead ahead(w.dir.fd());
    for (const char* path : {"d0", "gone", "gone/beneath", "file", "file/beneath", "d0"}) ahead.soon(path);
    ahead.took(kSlow, 0);
    CHECK(w.opened(1).contains("d0"));
}

TEST_CASE("a walk that is given up leaves what it announced") {
    Watched w(5);
    for (int round = 0; round < 50; ++round) {
        LookAhead ahead(w.dir.fd());
        for (int i = 0; i < 200; ++i) ahead.soon("d" + std::to_string(i % 5));
        ahead.took(kSlow, 0);
    }
}

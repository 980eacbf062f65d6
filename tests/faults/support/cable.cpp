#include "tests/faults/support/cable.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace tdfs::faults {
namespace {

using e2e::run;
using e2e::Words;

constexpr char kJanitor[] = R"(
trap '' INT TERM HUP QUIT
cat >/dev/null
ip netns pids "$1" 2>/dev/null | while read -r process; do kill -9 "$process" 2>/dev/null; done
ip link del "$2" 2>/dev/null
ip netns del "$1" 2>/dev/null
)";

void must(const Words& command) {
    const auto ran = run(command);
    if (ran.status == 0) {
        return;
    }
    std::string text;
    for (const auto& word : command) {
        text += word + " ";
    }
    throw std::runtime_error(text + "ended with " + std::to_string(ran.status) + ": " + ran.err);
}

pid_t start_janitor(const std::string& name, const std::string& interface, int read_end) {
    const pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    setsid();
    dup2(read_end, STDIN_FILENO);
    execl("/bin/sh", "sh", "-c", kJanitor, "janitor", name.c_str(), interface.c_str(), static_cast<char*>(nullptr));
    _exit(127);
}

}  // namespace

std::string Cable::impossible() {
    for (const std::string tool : {"ip", "nft", "nsenter", "ss", "tc"}) {
        if (!e2e::have_tool(tool)) {
            return tool + " is not installed (scripts/deps.sh --test)";
        }
    }
    try {
        Cable cable;
        cable.drop(1);
        cable.limit(1000);
        cable.heal();
    } catch (const std::exception& e) {
        return e.what();
    }
    return "";
}

// Names and addresses are of this process: tests run side by side. The addresses are those set aside for benchmarks.
Cable::Cable() {
    const auto id = static_cast<unsigned>(getpid());
    name_ = "tdfs" + std::to_string(id);
    here_ = name_ + "h";
    far_ = name_ + "f";
    const std::string net = "198.18." + std::to_string(id >> 6 & 255) + ".";
    near_address_ = net + std::to_string((id & 63) * 4 + 1);
    far_address_ = net + std::to_string((id & 63) * 4 + 2);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        throw std::system_error(errno, std::generic_category(), "pipe2");
    }
    alive_ = ends[1];
    janitor_ = start_janitor(name_, here_, ends[0]);
    close(ends[0]);
    try {
        if (janitor_ < 0) {
            throw std::system_error(errno, std::generic_category(), "fork");
        }
        must({"ip", "netns", "add", name_});
        must({"ip", "link", "add", here_, "type", "veth", "peer", "name", far_, "netns", name_});
        must({"ip", "addr", "add", near_address_ + "/30", "dev", here_});
        must({"ip", "link", "set", here_, "up"});
        must({"ip", "-n", name_, "addr", "add", far_address_ + "/30", "dev", far_});
        must({"ip", "-n", name_, "link", "set", far_, "up"});
        must({"ip", "-n", name_, "link", "set", "lo", "up"});
    } catch (...) {
        end();
        throw;
    }
}

Cable::~Cable() { end(); }

void Cable::end() const {
    close(alive_);
    int status = 0;
    while (janitor_ > 0 && waitpid(janitor_, &status, 0) < 0 && errno == EINTR) {
    }
}

// Not `ip netns exec`: that gives the command a copy of all mounts, and a mount of a master does not end while a copy of it is
// left.
Words Cable::there(const Words& command) const {
    Words words{"nsenter", "--net=/run/netns/" + name_, "--"};
    words.insert(words.end(), command.begin(), command.end());
    return words;
}

// Rules stand at the far end only: what else this machine filters is not touched.
void Cable::filter(const std::string& rule) const {
    std::string rules = "table inet fault\ndelete table inet fault\n";
    if (!rule.empty()) {
        rules += "table inet fault {\n";
        for (const std::string direction : {"input", "output"}) {
            rules += "chain " + direction + " { type filter hook " + direction + " priority 0; " + rule + "; }\n";
        }
        rules += "}\n";
    }
    must(there({"sh", "-c", "printf '%s' \"$1\" | nft -f -", "sh", rules}));
}

void Cable::drop(unsigned percent) {
    filter(percent >= 100 ? "drop" : "numgen random mod 100 < " + std::to_string(percent) + " drop");
}

void Cable::reset() { filter("meta l4proto tcp reject with tcp reset"); }

void Cable::limit(unsigned kilobits_a_second) {
    const std::string rate = std::to_string(kilobits_a_second) + "kbit";
    must({"tc", "qdisc", "replace", "dev", here_, "root", "tbf", "rate", rate, "burst", "16kb", "latency", "400ms"});
}

void Cable::pull() { must({"ip", "-n", name_, "link", "set", far_, "down"}); }

void Cable::kill_connections() { must(there({"ss", "-K", "state", "established"})); }

void Cable::heal() {
    filter("");
    static_cast<void>(run({"tc", "qdisc", "del", "dev", here_, "root"}));  // there may be none
    must({"ip", "-n", name_, "link", "set", far_, "up"});
}

}  // namespace tdfs::faults

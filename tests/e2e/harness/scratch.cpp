#include "tests/e2e/harness/scratch.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

namespace tdfs::e2e {
namespace {

// A process with the directory's name among its arguments is a daemon that was left over (it went to the background).
// Mount points stand in /proc/self/mounts with their blanks escaped; ours have none. The last mounted goes first.
constexpr char kJanitor[] = R"(
trap '' INT TERM HUP QUIT
cd /
cat >/dev/null
for process in /proc/[0-9]*; do
    [ "${process#/proc/}" = $$ ] && continue
    tr '\0' '\n' 2>/dev/null <"$process/cmdline" | grep -qF "$1/" && kill -9 "${process#/proc/}" 2>/dev/null
done
sed -n "s|^[^ ]* \($1/[^ ]*\) .*|\1|p" /proc/self/mounts | sort -r | while read -r at; do umount -l "$at"; done
rm -rf --one-file-system -- "$1"
)";

std::system_error failed(const std::string& what) { return {errno, std::generic_category(), what}; }

pid_t start_janitor(const std::string& path, int read_end) {
    const pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    setsid();
    dup2(read_end, STDIN_FILENO);
    execl("/bin/sh", "sh", "-c", kJanitor, "janitor", path.c_str(), static_cast<char*>(nullptr));
    _exit(127);
}

}  // namespace

Scratch::Scratch() {
    const char* base = std::getenv("TDFS_TEST_DIR");
    path_ = std::string(base != nullptr ? base : "/var/tmp") + "/tdfs-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) {
        throw failed("mkdtemp " + path_);
    }
    if (chmod(path_.c_str(), 0755) != 0) {  // unprivileged callers of the tests must get through
        throw failed("chmod " + path_);
    }
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        throw failed("pipe2");
    }
    alive_ = ends[1];
    janitor_ = start_janitor(path_, ends[0]);
    close(ends[0]);
    if (janitor_ < 0) {
        throw failed("fork");
    }
}

Scratch::~Scratch() {
    close(alive_);
    int status = 0;
    while (waitpid(janitor_, &status, 0) < 0 && errno == EINTR) {
    }
}

std::string Scratch::dir(const std::string& name) const {
    const std::string made = path_ + "/" + name;
    if (mkdir(made.c_str(), 0755) != 0) {
        throw failed("mkdir " + made);
    }
    return made;
}

}  // namespace tdfs::e2e

#include "tests/support/janitor.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace tdfs::test {
namespace {

// A process with the directory's name among its arguments is a daemon that was left over (it went to the background).
// Mount points stand in /proc/self/mounts with their blanks escaped; ours have none. The last mounted goes first.
constexpr char kScript[] = R"(
for process in /proc/[0-9]*; do
    [ "${process#/proc/}" = $$ ] && continue
    tr '\0' '\n' 2>/dev/null <"$process/cmdline" | grep -qF "$1/" && kill -9 "${process#/proc/}" 2>/dev/null
done
sed -n "s|^[^ ]* \($1/[^ ]*\) .*|\1|p" /proc/self/mounts | sort -r | while read -r at; do umount -l "$at"; done
rm -rf --one-file-system -- "$1"
)";

// Before any script.
constexpr char kWait[] = "trap '' INT TERM HUP QUIT; cd /; cat >/dev/null\n";

std::system_error failed(const std::string& what) { return {errno, std::generic_category(), what}; }

}  // namespace

Afterwards::Afterwards(const char* script, const std::string& argument) {
    const std::string whole = std::string(kWait) + script;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw failed("pipe2");
    alive_ = ends[1];
    process_ = fork();
    if (process_ == 0) {
        setsid();
        dup2(ends[0], STDIN_FILENO);
        execl("/bin/sh", "sh", "-c", whole.c_str(), "afterwards", argument.c_str(), static_cast<char*>(nullptr));
        _exit(127);
    }
    close(ends[0]);
    if (process_ < 0) throw failed("fork");
}

Afterwards::~Afterwards() {
    close(alive_);
    int status = 0;
    while (waitpid(process_, &status, 0) < 0 && errno == EINTR) {
    }
}

Janitor::Janitor(const std::string& path) : Afterwards(kScript, path) {}

}  // namespace tdfs::test

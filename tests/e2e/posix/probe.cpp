#include "tests/e2e/posix/probe.hpp"

#include <dirent.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "tests/e2e/harness/scale.hpp"

namespace tdfs::e2e {
namespace {

std::vector<Case>& cases() {
    static std::vector<Case> all;
    return all;
}

std::string octal(mode_t mode) {
    std::ostringstream text;
    text << std::oct << mode;
    return text.str();
}

std::string describe(const struct stat& s) {
    std::string text = "mode " + octal(s.st_mode) + " owner " + std::to_string(s.st_uid) + ":" +
                       std::to_string(s.st_gid) + " links " + std::to_string(s.st_nlink);
    if (!S_ISDIR(s.st_mode)) {
        text += " size " + std::to_string(s.st_size);
    }
    if (S_ISCHR(s.st_mode) || S_ISBLK(s.st_mode)) {
        text += " device " + std::to_string(major(s.st_rdev)) + ":" + std::to_string(minor(s.st_rdev));
    }
    return text;
}

void become(Who who) {
    umask(022);
    if (who == Who::kUser) {
        const gid_t groups[] = {kUserGroup, kSecondGroup};
        if (setgroups(2, groups) != 0 || setresgid(kUserGroup, kUserGroup, kUserGroup) != 0 ||
            setresuid(kUserId, kUserId, kUserId) != 0) {
            _exit(125);
        }
    }
}

bool write_all(int fd, const std::string& text) {
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t n = write(fd, text.data() + done, text.size() - done);
        if (n <= 0) {
            return false;
        }
        done += static_cast<std::size_t>(n);
    }
    return true;
}

// In a child process, so that ids, current directory and descriptors are its own. Returns the transcript.
std::string in_child(Who who, const std::string& directory, void (*function)(Probe&)) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        throw std::runtime_error("pipe2");
    }
    const pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        alarm(static_cast<unsigned>(patience().count()));
        become(who);
        Probe probe(who);
        if (chdir(directory.c_str()) != 0) {
            probe.note("chdir", std::strerror(errno));
        } else {
            function(probe);
        }
        _exit(write_all(ends[1], probe.transcript()) ? 0 : 124);
    }
    close(ends[1]);
    std::string text;
    char buffer[65536];
    for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
        text.append(buffer, static_cast<std::size_t>(n));
    }
    close(ends[0]);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (status != 0) {
        text += "ended by " +
                (WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                     : "status " + std::to_string(WEXITSTATUS(status))) +
                "\n";
    }
    return text;
}

}  // namespace

long Probe::call(const std::string& what, long result) {
    const int error = errno;
    note(what, result >= 0 ? std::to_string(result) : strerrorname_np(error));
    return result;
}

int Probe::fd(const std::string& what, int result) {
    const int error = errno;
    note(what, result >= 0 ? "open" : strerrorname_np(error));
    return result;
}

int Probe::open(const std::string& path, int flags, mode_t mode) {
    const int result = ::open(path.c_str(), flags | O_CLOEXEC, mode);
    return fd("open " + path.substr(0, 40) + " 0" + octal(static_cast<mode_t>(flags)) + " 0" + octal(mode), result);
}

void Probe::note(const std::string& what, const std::string& value) { transcript_ += what + " = " + value + "\n"; }

void Probe::stat(const std::string& path) {
    struct stat s {};
    if (lstat(path.c_str(), &s) != 0) {
        note("lstat " + path, strerrorname_np(errno));
    } else {
        note("lstat " + path, describe(s));
    }
}

void Probe::fstat(const std::string& what, int fd) {
    struct stat s {};
    if (::fstat(fd, &s) != 0) {
        note("fstat " + what, strerrorname_np(errno));
    } else {
        note("fstat " + what, describe(s));
    }
}

void Probe::content(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        note("content " + path, strerrorname_np(errno));
        return;
    }
    content(path, fd);
    close(fd);
}

void Probe::content(const std::string& what, int fd) {
    std::uint64_t hash = 1469598103934665603U;  // FNV-1a
    std::string extents;
    off_t at = 0;
    const bool whole = preallocated_.count(what) != 0;
    const off_t size = lseek(fd, 0, SEEK_END);
    while ((at = whole ? (at < size ? at : -1) : lseek(fd, at, SEEK_DATA)) >= 0) {
        const off_t end = whole ? size : lseek(fd, at, SEEK_HOLE);
        extents += " " + std::to_string(at) + "-" + std::to_string(end);
        std::vector<char> buffer(1 << 20);
        while (at < end) {
            const ssize_t n = pread(fd, buffer.data(), buffer.size(), at);
            if (n <= 0) {
                note("read " + what, n == 0 ? "end of file in the middle" : strerrorname_np(errno));
                return;
            }
            for (ssize_t i = 0; i < n; i++) {
                hash = (hash ^ static_cast<unsigned char>(buffer[static_cast<std::size_t>(i)])) * 1099511628211U;
            }
            at += n;
        }
    }
    note("content " + what, std::to_string(hash) + extents);
}

void Probe::everything() {
    std::vector<std::string> todo{"."};
    while (!todo.empty()) {
        const std::string path = todo.back();
        todo.pop_back();
        stat(path);
        struct stat s {};
        if (lstat(path.c_str(), &s) != 0) {
            continue;
        }
        if (S_ISREG(s.st_mode)) {
            content(path);
        } else if (S_ISLNK(s.st_mode)) {
            char target[4096];
            const ssize_t n = readlink(path.c_str(), target, sizeof target);
            note("readlink " + path, n < 0 ? strerrorname_np(errno) : std::string(target, static_cast<std::size_t>(n)));
        } else if (S_ISDIR(s.st_mode)) {
            std::vector<std::string> names;
            if (DIR* dir = opendir(path.c_str())) {
                while (const dirent* entry = readdir(dir)) {
                    const std::string name = entry->d_name;
                    if (name != "." && name != "..") {
                        names.push_back(path + "/" + name);
                    }
                }
                closedir(dir);
            }
            std::sort(names.rbegin(), names.rend());
            todo.insert(todo.end(), names.begin(), names.end());
        }
    }
}

void Probe::make(const std::string& path, const std::string& text, mode_t mode) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    must(fd >= 0 && write_all(fd, text) && fchmod(fd, mode) == 0 && close(fd) == 0, "make " + path);
}

void Probe::must(bool ok, const std::string& what) {
    if (!ok) {
        note("cannot prepare: " + what, strerrorname_np(errno));
    }
}

AddCase::AddCase(const Case& one) { cases().push_back(one); }

const std::vector<Case>& all_cases() { return cases(); }

std::string run_case(const Case& one, Who who, const std::string& parent) {
    std::string directory = parent + "/" + one.name + (who == Who::kRoot ? " (root)" : " (user)");
    if (mkdir(directory.c_str(), 0755) != 0 ||
        (who == Who::kUser && chown(directory.c_str(), kUserId, kUserGroup) != 0)) {
        return "mkdir " + directory + ": " + std::strerror(errno);
    }
    std::string text;
    if (one.prepare != nullptr) {
        text = in_child(Who::kRoot, directory, one.prepare);
    }
    return text + in_child(who, directory, one.run);
}

std::string transcript_differences(const std::string& plain, const std::string& mount) {
    std::istringstream a(plain), b(mount);
    std::string result;
    std::size_t shown = 0;
    for (std::string x, y; shown < 8;) {
        const bool more_a = static_cast<bool>(std::getline(a, x));
        const bool more_b = static_cast<bool>(std::getline(b, y));
        if (!more_a && !more_b) {
            break;
        }
        if (!more_a || !more_b || x != y) {
            result += "  plain: " + (more_a ? x : "(nothing)") + "\n  mount: " + (more_b ? y : "(nothing)") + "\n";
            shown++;
        }
    }
    return result;
}

}  // namespace tdfs::e2e

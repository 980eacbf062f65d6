// open(2) and its flags.

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "tests/e2e/posix/probe.hpp"

namespace tdfs::e2e {
namespace {

// What an open may meet. `name` is opened; everything is made anew before each open.
const char* const kTargets[] = {"missing", "file",     "dir",   "link",     "dangling",   "link_to_dir",
                                "fifo",    "no_modes", "file/", "missing/", "file/below", "nowhere/file"};

void make_targets(Probe& p) {
    p.make("file", "0123456789");
    p.make("no_modes", "0123456789", 0);
    p.must(mkdir("dir", 0755) == 0 && symlink("file", "link") == 0 && symlink("nothing", "dangling") == 0 &&
               symlink("dir", "link_to_dir") == 0 && mkfifo("fifo", 0600) == 0,
           "targets");
}

void open_with_all_flags(Probe& p) {
    make_targets(p);
    for (const int access : {O_RDONLY, O_WRONLY, O_RDWR}) {
        for (const int create : {0, O_CREAT, O_CREAT | O_EXCL}) {
            for (const int more : {0, O_TRUNC, O_APPEND, O_APPEND | O_TRUNC, O_NOFOLLOW, O_DIRECTORY}) {
                for (const char* target : kTargets) {
                    const int fd = p.open(target, access | create | more | O_NONBLOCK);
                    if (fd >= 0) {
                        struct stat s {};
                        p.must(fstat(fd, &s) == 0, "fstat");
                        p.fstat(target, fd);
                        if (S_ISREG(s.st_mode)) {
                            p.call("write", write(fd, "abc", 3));
                            p.call("position", lseek(fd, 0, SEEK_CUR));
                            if ((more & O_TRUNC) != 0 || access != O_RDONLY) {
                                p.make("file", "0123456789");
                            }
                        }
                        close(fd);
                    }
                    unlink("missing");
                    unlink("nothing");
                }
            }
        }
    }
    p.everything();
}

void append(Probe& p) {
    const int a = p.open("log", O_WRONLY | O_CREAT | O_APPEND);
    const int b = p.open("log", O_RDWR | O_APPEND);
    DO(p, write(a, "one\n", 4));
    DO(p, write(b, "two\n", 4));
    DO(p, write(a, "three\n", 6));
    DO(p, lseek(b, 0, SEEK_SET));
    DO(p, write(b, "four\n", 5));
    DO(p, pwrite(a, "five\n", 5, 2));  // on Linux appends as well
    DO(p, lseek(a, 0, SEEK_CUR));
    DO(p, fcntl(a, F_SETFL, 0));
    DO(p, pwrite(a, "ONE", 3, 0));
    DO(p, fcntl(a, F_SETFL, O_APPEND));
    DO(p, write(a, "six\n", 4));
    DO(p, ftruncate(b, 3));
    DO(p, write(a, "7\n", 2));
    p.content("log");
}

// Several processes append to one file: no line is lost or torn.
void append_by_many(Probe& p) {
    p.make("log", "");
    constexpr int kWriters = 4, kLines = 50;
    for (int i = 0; i < kWriters; i++) {
        if (fork() == 0) {
            const int fd = ::open("log", O_WRONLY | O_APPEND);
            for (int n = 0; n < kLines; n++) {
                const std::string line(20, static_cast<char>('a' + i));
                if (write(fd, (line + "\n").c_str(), line.size() + 1) != static_cast<ssize_t>(line.size()) + 1) {
                    _exit(1);
                }
            }
            _exit(0);
        }
    }
    for (int i = 0; i < kWriters; i++) {
        int status = 0;
        p.must(wait(&status) > 0 && status == 0, "writer");
    }
    const int fd = p.open("log", O_RDONLY);
    int counts[kWriters] = {};
    int torn = 0;
    char line[21];
    while (read(fd, line, sizeof line) == sizeof line) {
        const bool whole = std::string(line, 20) == std::string(20, line[0]) && line[20] == '\n' && line[0] >= 'a' &&
                           line[0] < 'a' + kWriters;
        if (whole) {
            counts[line[0] - 'a']++;
        } else {
            torn++;
        }
    }
    for (const int count : counts) {
        p.note("lines", static_cast<std::uint64_t>(count));
    }
    p.note("torn", static_cast<std::uint64_t>(torn));
    unlink("log");  // the order of the lines is nobody's
}

void created_modes(Probe& p) {
    for (const mode_t mask : {000u, 022u, 077u, 0777u}) {
        umask(mask);
        for (const mode_t mode : {0u, 0400u, 0644u, 0666u, 0777u, 04755u, 02755u, 01777u, 06777u}) {
            const std::string name = "f" + std::to_string(mask) + "_" + std::to_string(mode);
            const int fd = p.open(name, O_RDWR | O_CREAT | O_EXCL, mode);
            p.call("write to it", write(fd, "x", 1));  // whatever its mode
            p.stat(name);
            p.call("mkdir", mkdir(("d" + name).c_str(), mode));
            p.stat("d" + name);
            p.call("mkfifo", mkfifo(("p" + name).c_str(), mode));
            p.stat("p" + name);
            close(fd);
        }
    }
    umask(022);
}

void without_name(Probe& p) {
    const int fd = p.open(".", O_TMPFILE | O_RDWR, 0640);
    p.fstat("temporary", fd);
    DO(p, write(fd, "temporary", 9));
    DO(p, ftruncate(fd, 5000));
    DO(p, pwrite(fd, "end", 3, 4997));
    const std::string self = "/proc/self/fd/" + std::to_string(fd);
    p.call("linkat", linkat(AT_FDCWD, self.c_str(), AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    p.call("linkat again", linkat(AT_FDCWD, self.c_str(), AT_FDCWD, "named too", AT_SYMLINK_FOLLOW));
    p.call("linkat onto it", linkat(AT_FDCWD, self.c_str(), AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    DO(p, write(fd, "TEMPORARY", 9));
    p.fstat("named", fd);
    close(fd);

    const int never = p.open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
    const std::string other = "/proc/self/fd/" + std::to_string(never);
    DO(p, write(never, "never", 5));
    p.call("linkat of one with O_EXCL", linkat(AT_FDCWD, other.c_str(), AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
    close(never);
    p.open(".", O_TMPFILE | O_RDONLY, 0600);
    p.open("named", O_TMPFILE | O_RDWR, 0600);
    p.everything();
}

void by_path_only(Probe& p) {
    make_targets(p);
    const int fd = p.open("file", O_PATH);
    char c = 0;
    DO(p, read(fd, &c, 1));
    DO(p, fchmod(fd, 0600));
    p.fstat("file", fd);
    const int link = p.open("link", O_PATH | O_NOFOLLOW);
    p.fstat("link", link);
    char target[16];
    DO(p, readlinkat(link, "", target, sizeof target));
    p.open("file", O_RDONLY | O_NOATIME);
    p.open("", O_RDONLY);
    p.open("file", O_RDONLY | O_DIRECTORY);
}

void no_more_than_owner(Probe& p) {
    p.open("theirs", O_RDONLY);
    p.open("theirs", O_WRONLY);
    p.open("theirs", O_RDONLY | O_NOATIME);
    p.open("hidden/file", O_RDONLY);
    p.open("hidden", O_RDONLY | O_DIRECTORY);
    p.open("listed/file", O_RDONLY);
    p.open("listed", O_RDONLY | O_DIRECTORY);
    p.open("listed/new", O_WRONLY | O_CREAT);
    p.open("group", O_RDWR);
    p.open("second", O_RDWR);
    p.open("second", O_RDWR | O_TRUNC);
    DO(p, access("theirs", R_OK));
    DO(p, access("theirs", W_OK));
    DO(p, access("theirs", X_OK));
    DO(p, access("second", W_OK));
    DO(p, faccessat(AT_FDCWD, "listed", X_OK, AT_EACCESS));
    DO(p, unlink("listed/file"));
    DO(p, mkdir("listed/dir", 0755));
    DO(p, rename("theirs", "listed/theirs"));
}

void prepare_others(Probe& p) {
    p.make("theirs");
    p.make("group", "g", 0660);
    p.make("second", "s", 0660);
    p.must(chown("group", 0, kOtherGroup) == 0 && chown("second", 0, kSecondGroup) == 0, "chown");
    p.must(mkdir("hidden", 0700) == 0 && mkdir("listed", 0744) == 0, "mkdir");
    p.make("hidden/file");
    p.make("listed/file");
}

// A running program's file cannot be written, and a file open for writing cannot be run.
void programs(Probe& p) {
    const int from = ::open("/bin/sleep", O_RDONLY);
    const int to = p.open("sleep", O_WRONLY | O_CREAT, 0755);
    char buffer[65536];
    for (ssize_t n = 0; (n = read(from, buffer, sizeof buffer)) > 0;) {
        p.must(write(to, buffer, static_cast<std::size_t>(n)) == n, "copy");
    }
    p.call("exec while open for writing", execl("./sleep", "sleep", "0", static_cast<char*>(nullptr)));
    close(to);
    int ready[2];
    p.must(pipe2(ready, O_CLOEXEC) == 0, "pipe");
    const pid_t child = fork();
    if (child == 0) {
        execl("./sleep", "sleep", "100", static_cast<char*>(nullptr));
        _exit(1);
    }
    close(ready[1]);
    p.must(read(ready[0], buffer, 1) == 0, "exec");  // closed by the exec
    p.open("sleep", O_WRONLY);
    p.open("sleep", O_RDWR);
    DO(p, truncate("sleep", 0));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    p.open("sleep", O_WRONLY);
}

// More files open than a cache would hold.
void many_open(Probe& p) {
    constexpr int kMany = 600;
    int fds[kMany];
    std::uint64_t wrong = 0;
    for (int i = 0; i < kMany; i++) {
        fds[i] = ::open(("f" + std::to_string(i)).c_str(), O_RDWR | O_CREAT, 0644);
        wrong += fds[i] < 0;
    }
    for (int i = 0; i < kMany; i++) {
        const std::string text = std::to_string(i);
        wrong += write(fds[i], text.c_str(), text.size()) != static_cast<ssize_t>(text.size());
    }
    for (int i = 0; i < kMany; i++) {
        char text[16] = {};
        wrong += pread(fds[i], text, sizeof text - 1, 0) <= 0 || std::to_string(i) != text;
        close(fds[i]);
    }
    p.note("wrong", wrong);
}

const AddCase kCases[] = {
    AddCase{{"open flags", open_with_all_flags}},
    AddCase{{"append", append}},
    AddCase{{"append by many", append_by_many}},
    AddCase{{"modes and umask", created_modes}},
    AddCase{{"O_TMPFILE", without_name}},
    AddCase{{"O_PATH", by_path_only}},
    AddCase{{"permissions", no_more_than_owner, prepare_others}},
    AddCase{{"programs", programs}},
    AddCase{{"many open files", many_open}},
};

}  // namespace
}  // namespace tdfs::e2e

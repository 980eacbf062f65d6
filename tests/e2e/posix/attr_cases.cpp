// Modes, owners and times.

#include <sys/stat.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>
#include <utility>

#include "tests/e2e/posix/probe.hpp"

namespace tdfs::e2e {
namespace {

void modes(Probe& p) {
    p.make("file");
    p.must(mkdir("dir", 0755) == 0 && symlink("file", "link") == 0 && symlink("x", "dangling") == 0, "make");
    for (const mode_t mode : {0u, 0777u, 0644u, 04711u, 02711u, 02644u, 01777u, 07777u, 0100644u}) {
        p.call("chmod file " + std::to_string(mode), chmod("file", mode));
        p.stat("file");
        p.call("chmod dir " + std::to_string(mode), chmod("dir", mode | 0700));
        p.stat("dir");
    }
    DO(p, chmod("link", 0640));
    DO(p, fchmodat(AT_FDCWD, "link", 0600, AT_SYMLINK_NOFOLLOW));
    DO(p, chmod("dangling", 0600));
    DO(p, chmod("missing", 0600));
    DO(p, chmod("theirs", 0600));
    DO(p, chmod("sgid theirs", 02755));  // the group is not one of ours: the bit does not stay
    p.everything();
}

void prepare_modes(Probe& p) {
    p.make("theirs");
    p.make("sgid theirs");
    p.must(chown("sgid theirs", kUserId, kOtherGroup) == 0, "chown");
}

constexpr uid_t kSameUser = static_cast<uid_t>(-1);
constexpr gid_t kSameGroup = static_cast<gid_t>(-1);

void owners(Probe& p) {
    for (const char* name : {"mine", "theirs", "dir", "link", "missing"}) {
        for (const uid_t user : {kSameUser, kUserId, kOtherId, uid_t{0}}) {
            for (const gid_t group : {kSameGroup, kUserGroup, kSecondGroup, kOtherGroup, gid_t{0}}) {
                p.call(std::string("lchown ") + name + " " + std::to_string(user) + " " + std::to_string(group),
                       lchown(name, user, group));
                p.stat(name);
            }
        }
    }
}

void prepare_owners(Probe& p) {
    p.make("mine", "x", 06755);
    p.make("theirs");
    p.must(chown("mine", kUserId, kUserGroup) == 0 && chmod("mine", 06755) == 0 && mkdir("dir", 0755) == 0 &&
               chown("dir", kUserId, kUserGroup) == 0 && chmod("dir", 06755) == 0 && symlink("mine", "link") == 0 &&
               lchown("link", kUserId, kUserGroup) == 0,
           "owners");
}

// Set-id bits go away when somebody without the right changes the file.
struct Change {
    const char* name;
    long (*make)(const char* path, int fd, int source);
};

const Change kChanges[] = {
    {"nothing", [](const char*, int, int) { return 0L; }},
    {"write of nothing", [](const char*, int fd, int) { return long{write(fd, "", 0)}; }},
    {"write", [](const char*, int fd, int) { return long{write(fd, "x", 1)}; }},
    {"pwrite far", [](const char*, int fd, int) { return long{pwrite(fd, "x", 1, 100000)}; }},
    {"truncate", [](const char* path, int, int) { return long{truncate(path, 3)}; }},
    {"ftruncate", [](const char*, int fd, int) { return long{ftruncate(fd, 20)}; }},
    {"open with O_TRUNC", [](const char* path, int, int) { return long{close(::open(path, O_WRONLY | O_TRUNC))}; }},
    {"fallocate", [](const char*, int fd, int) { return long{fallocate(fd, 0, 0, 8192)}; }},
    {"punch",
     [](const char*, int fd, int) { return long{fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2)}; }},
    {"copy", [](const char*, int fd, int source) { return long{copy_file_range(source, nullptr, fd, nullptr, 5, 0)}; }},
    {"chown to the same", [](const char* path, int, int) { return long{chown(path, kOtherId, kOtherGroup)}; }},
    {"chown of nothing", [](const char* path, int, int) { return long{chown(path, kSameUser, kSameGroup)}; }},
    {"times", [](const char* path, int, int) { return long{utimes(path, nullptr)}; }},
};
constexpr mode_t kSetIdModes[] = {06777, 06666, 04777, 02777, 02767, 04766};

std::string set_id_name(const Change& change, mode_t mode) {
    return std::string(change.name) + " " + std::to_string(mode);
}

void set_id_bits(Probe& p) {
    const int source = p.open("source", O_RDONLY);
    for (const Change& change : kChanges) {
        // For a stranger the kernel asks FUSE in the same words as before a write: it is not told apart, and so not refused.
        if (!p.root() && change.name == std::string("chown of nothing")) {
            continue;
        }
        for (const mode_t mode : kSetIdModes) {
            const std::string name = set_id_name(change, mode);
            const int fd = p.open(name, O_RDWR);
            lseek(source, 0, SEEK_SET);
            p.call(name, change.make(name.c_str(), fd, source));
            p.stat(name);
            p.fstat(name, fd);
            close(fd);
        }
    }
}

void prepare_set_id(Probe& p) {
    p.make("source", "source of a copy");
    for (const Change& change : kChanges) {
        for (const mode_t mode : kSetIdModes) {
            const std::string name = set_id_name(change, mode);
            p.make(name, "content", 0600);
            p.must(chown(name.c_str(), kOtherId, kOtherGroup) == 0 && chmod(name.c_str(), mode) == 0, name);
        }
    }
}

// What is made in a directory with the set-group-id bit.
void inherited_groups(Probe& p) {
    for (const char* dir : {"shared", "shared by others"}) {
        const std::string in = std::string(dir) + "/";
        for (const mode_t mode : {0644u, 02755u, 06755u, 02644u}) {
            const std::string name = in + std::to_string(mode);
            close(p.open(name, O_WRONLY | O_CREAT, mode));
            p.stat(name);
            p.call("mkdir", mkdir((name + "d").c_str(), mode));
            p.stat(name + "d");
            p.call("mknod", mknod((name + "p").c_str(), S_IFIFO | mode, 0));
            p.stat(name + "p");
            p.call("symlink", symlink("x", (name + "s").c_str()));
            p.stat(name + "s");
        }
        const int fd = p.open(dir, O_TMPFILE | O_RDWR, 02755);
        p.fstat("temporary", fd);
        p.call("mkdir", mkdir((in + "deep").c_str(), 0755));
        p.call("mkdir", mkdir((in + "deep/deeper").c_str(), 0755));
        p.stat(in + "deep/deeper");
    }
}

void prepare_groups(Probe& p) {
    for (const auto& [dir, group] : {std::pair{"shared", kSecondGroup}, std::pair{"shared by others", kOtherGroup}}) {
        p.must(mkdir(dir, 0777) == 0 && chown(dir, 0, group) == 0 && chmod(dir, 02777) == 0, dir);
    }
}

// A time of the run itself is never the same twice.
std::string time_text(const timespec& t) {
    if (std::abs(t.tv_sec - time(nullptr)) < 1000) {
        return "lately";
    }
    return std::to_string(t.tv_sec) + "." + std::to_string(t.tv_nsec);
}

void times_of(Probe& p, const char* path) {
    struct stat s {};
    if (lstat(path, &s) != 0) {
        p.note("times", strerrorname_np(errno));
    } else {
        p.note("times of " + std::string(path), time_text(s.st_atim) + " " + time_text(s.st_mtim));
    }
}

void set_times(Probe& p) {
    const timespec kNow{0, UTIME_NOW}, kOmit{0, UTIME_OMIT};
    const timespec first[2] = {{1000000001, 123456789}, {1000000002, 987654321}};
    const timespec second[2] = {{2000000000, 1}, kOmit};
    const timespec third[2] = {kOmit, {1, 999999999}};
    const timespec before_1970[2] = {{-1000, 5}, {-2000, 7}};
    const timespec after_2038[2] = {{5000000000, 5}, {6000000000, 7}};
    const timespec nothing[2] = {kOmit, kOmit};
    const timespec wrong[2] = {{0, 1000000000}, {0, 0}};
    const timespec now[2] = {kNow, kNow};
    const timespec half[2] = {kNow, kOmit};
    for (const char* name : {"file", "dir", "link", "theirs", "theirs, writable", "missing"}) {
        for (const timespec* times : {first, second, third, before_1970, after_2038, nothing, wrong}) {
            p.call("utimensat", utimensat(AT_FDCWD, name, times, AT_SYMLINK_NOFOLLOW));
            times_of(p, name);
        }
        p.call("now", utimensat(AT_FDCWD, name, now, AT_SYMLINK_NOFOLLOW));
        p.call("half now", utimensat(AT_FDCWD, name, half, AT_SYMLINK_NOFOLLOW));
        p.call("first again", utimensat(AT_FDCWD, name, first, AT_SYMLINK_NOFOLLOW));
    }
    const int fd = p.open("file", O_RDONLY);
    DO(p, futimens(fd, first));
    times_of(p, "file");
    DO(p, utimensat(AT_FDCWD, "link", third, 0));
    times_of(p, "file");
    times_of(p, "link");
}

void prepare_times(Probe& p) {
    p.make("file");
    p.must(mkdir("dir", 0755) == 0 && symlink("file", "link") == 0, "make");
    p.must(chown("file", kUserId, kUserGroup) == 0 && chown("dir", kUserId, kUserGroup) == 0 &&
               lchown("link", kUserId, kUserGroup) == 0,
           "chown");
    p.make("theirs");
    p.make("theirs, writable", "x", 0666);
}

// Which changes move which time.
void moving_times(Probe& p) {
    p.make("file");
    p.must(mkdir("dir", 0755) == 0, "mkdir");
    p.make("dir/file");
    const int fd = p.open("file", O_RDWR);
    const auto moved = [&](const std::string& what, const char* path, auto change) {
        struct stat before {
        }, after{};
        p.must(::stat(path, &before) == 0, path);
        std::this_thread::sleep_for(std::chrono::milliseconds(12));  // file times have a coarse clock
        p.call(what, change());
        p.must(::stat(path, &after) == 0, path);
        const auto later = [](const timespec& a, const timespec& b) {
            return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
        };
        p.note(what + " moves", std::string(later(before.st_mtim, after.st_mtim) ? "mtime " : "") +
                                    (later(before.st_ctim, after.st_ctim) ? "ctime" : ""));
    };
    moved("write", "file", [&] { return write(fd, "x", 1); });
    moved("write of nothing", "file", [&] { return write(fd, "", 0); });
    moved("truncate", "file", [&] { return truncate("file", 5); });
    moved("truncate to the same", "file", [&] { return truncate("file", 5); });
    moved("ftruncate to the same", "file", [&] { return ftruncate(fd, 5); });
    moved("fallocate", "file", [&] { return fallocate(fd, 0, 0, 10000); });
    moved("punch", "file", [&] { return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096); });
    moved("open with O_TRUNC", "file", [&] { return close(::open("file", O_WRONLY | O_TRUNC)); });
    moved("open with O_TRUNC of nothing", "file", [&] { return close(::open("file", O_WRONLY | O_TRUNC)); });
    moved("chmod", "file", [&] { return chmod("file", 0600); });
    moved("chown", "file", [&] { return chown("file", kSameUser, kSameGroup); });
    moved("link", "file", [&] { return link("file", "hard"); });
    moved("unlink", "file", [&] { return unlink("hard"); });
    moved("rename", "file", [&] { return rename("file", "file2") + rename("file2", "file"); });
    moved("setxattr", "file", [&] { return setxattr("file", "user.x", "x", 1, 0); });
    moved("removexattr", "file", [&] { return removexattr("file", "user.x"); });
    moved("create in", "dir", [&] { return close(::open("dir/new", O_WRONLY | O_CREAT, 0644)); });
    moved("unlink in", "dir", [&] { return unlink("dir/new"); });
    moved("mkdir in", "dir", [&] { return mkdir("dir/sub", 0755); });
    moved("rmdir in", "dir", [&] { return rmdir("dir/sub"); });
    moved("symlink in", "dir", [&] { return symlink("x", "dir/link"); });
    moved("rename in", "dir", [&] { return rename("dir/link", "dir/moved"); });
    moved("rename out of", "dir", [&] { return rename("dir/moved", "moved"); });
    moved("link in", "dir", [&] { return link("file", "dir/hard"); });
    moved("write below", "dir", [&] { return truncate("dir/file", 1); });
}

const AddCase kCases[] = {
    AddCase{{"modes", modes, prepare_modes}},
    AddCase{{"owners", owners, prepare_owners}},
    AddCase{{"set-id bits", set_id_bits, prepare_set_id}},
    AddCase{{"inherited groups", inherited_groups, prepare_groups}},
    AddCase{{"set times", set_times, prepare_times}},
    AddCase{{"moving times", moving_times}},
};

}  // namespace
}  // namespace tdfs::e2e

// Names: directories, renames, links, special files, lengths and bytes of names.

#include <dirent.h>
#include <linux/fs.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "tests/e2e/posix/probe.hpp"

namespace tdfs::e2e {
namespace {

void directories(Probe& p) {
    DO(p, mkdir("a", 0755));
    DO(p, mkdir("a", 0755));
    DO(p, mkdir("a/b", 0700));
    DO(p, mkdir("a/b/c/d", 0755));
    DO(p, mkdir("trailing/", 0755));
    DO(p, mkdir(".", 0755));
    DO(p, mkdir("..", 0755));
    DO(p, mkdir("", 0755));
    p.make("file");
    DO(p, mkdir("file/below", 0755));
    DO(p, mkdir("file", 0755));
    DO(p, symlink("nothing", "dangling"));
    DO(p, mkdir("dangling", 0755));
    p.stat("a");
    DO(p, rmdir("a"));
    DO(p, rmdir("a/."));
    DO(p, rmdir("a/b/.."));
    DO(p, rmdir("file"));
    DO(p, rmdir("missing"));
    DO(p, rmdir("dangling"));
    DO(p, unlink("a"));
    DO(p, rmdir("a/b/"));
    p.stat("a");
    DO(p, mkdir("gone", 0755));
    const int gone = p.open("gone", O_RDONLY | O_DIRECTORY);
    DO(p, rmdir("gone"));
    p.fstat("removed directory", gone);
    DO(p, mkdirat(gone, "in it", 0755));
    p.fd("create in it", openat(gone, "file", O_WRONLY | O_CREAT, 0644));
    DO(p, symlinkat("x", gone, "link"));
    DO(p, linkat(AT_FDCWD, "file", gone, "link", 0));
    DO(p, renameat(AT_FDCWD, "file", gone, "file"));
    DO(p, fsync(gone));
    p.everything();
}

std::vector<std::string> entries(DIR* dir) {
    std::vector<std::string> names;
    while (const dirent* entry = readdir(dir)) {
        names.emplace_back(entry->d_name);
    }
    return names;
}

void listing(Probe& p) {
    constexpr int kEntries = 400;
    for (int i = 0; i < kEntries; i++) {
        p.make("entry with a name that is not short " + std::to_string(i), "");
    }
    DIR* dir = opendir(".");
    std::vector<std::string> names = entries(dir);
    rewinddir(dir);
    p.note("the same again", entries(dir) == names);

    // From a remembered place on, the rest is the same each time.
    rewinddir(dir);
    for (int i = 0; i < 150; i++) {
        readdir(dir);
    }
    const long place = telldir(dir);
    const std::vector<std::string> rest = entries(dir);
    seekdir(dir, place);
    p.note("the same rest", entries(dir) == rest);
    p.note("rest", rest.size());

    // New names are seen after rewinding; another descriptor sees the same.
    p.make("new", "");
    rewinddir(dir);
    const std::vector<std::string> more = entries(dir);
    p.note("with the new one", more.size());
    closedir(dir);

    // Deleted while listing: each name at most once, and all that stay.
    dir = opendir(".");
    std::multiset<std::string> seen;
    int deleted = 0;
    while (const dirent* entry = readdir(dir)) {
        const std::string name = entry->d_name;
        seen.insert(name);
        if (name.find("entry") == 0 && name.back() % 2 == 0) {
            p.must(unlink(name.c_str()) == 0, "unlink " + name);
            deleted++;
        }
    }
    closedir(dir);
    p.note("deleted", static_cast<std::uint64_t>(deleted));
    p.note("seen", seen.size());
    p.note("twice", static_cast<std::uint64_t>(std::count_if(seen.begin(), seen.end(),
                                                             [&](const auto& name) { return seen.count(name) > 1; })));
    dir = opendir(".");
    names = entries(dir);
    closedir(dir);
    p.note("left", names.size());
    for (const std::string& name : names) {
        unlink(name.c_str());
    }
}

void entry_types(Probe& p) {
    p.make("file");
    p.must(mkdir("dir", 0755) == 0 && symlink("x", "link") == 0 && mkfifo("fifo", 0644) == 0, "make");
    DIR* dir = opendir(".");
    std::set<std::string> types;
    while (const dirent* entry = readdir(dir)) {
        types.insert(std::string(entry->d_name) + " " + std::to_string(entry->d_type));
        struct stat s {};
        const bool same = fstatat(dirfd(dir), entry->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0 && s.st_ino == entry->d_ino;
        if (std::string(entry->d_name) != "..") {
            p.must(same, "the inode number listed is the one of stat");
        }
    }
    closedir(dir);
    for (const std::string& type : types) {
        p.note("type", type);
    }
}

void special_files(Probe& p) {
    DO(p, mknod("fifo", S_IFIFO | 0640, 0));
    DO(p, mknod("socket", S_IFSOCK | 0600, 0));
    DO(p, mknod("regular", S_IFREG | 0604, 0));
    DO(p, mknod("untyped", 0644, 0));
    DO(p, mknod("char", S_IFCHR | 0666, makedev(1, 3)));
    DO(p, mknod("block", S_IFBLK | 0600, makedev(7, 0)));
    DO(p, mknod("big numbers", S_IFCHR | 0600, makedev(0xabc, 0xabcde)));
    DO(p, mknod("dir", S_IFDIR | 0755, 0));
    DO(p, mknod("fifo", S_IFIFO | 0640, 0));
    DO(p, mknod("none/fifo", S_IFIFO | 0640, 0));
    p.everything();

    const int fifo = p.open("fifo", O_RDWR | O_NONBLOCK);
    DO(p, write(fifo, "through", 7));
    char text[16];
    DO(p, read(fifo, text, sizeof text));
    p.open("fifo", O_WRONLY | O_NONBLOCK);
    close(fifo);
    p.open("fifo", O_WRONLY | O_NONBLOCK);
    p.open("socket", O_RDONLY);

    const int server = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, "server");
    const auto* where = reinterpret_cast<const sockaddr*>(&address);
    DO(p, bind(server, where, sizeof address));
    DO(p, listen(server, 1));
    DO(p, connect(socket(AF_UNIX, SOCK_STREAM, 0), where, sizeof address));
    p.stat("server");
    DO(p, rename("fifo", "renamed"));
    DO(p, link("renamed", "linked"));
    p.stat("linked");
}

const char* const kKinds[] = {"missing", "file", "other", "empty", "empty2", "full", "full2", "link", "fifo", "hard"};

void make_kinds(Probe& p) {
    p.make("file", "file");
    p.make("other", "other");
    p.must(mkdir("empty", 0755) == 0 && mkdir("empty2", 0755) == 0 && mkdir("full", 0755) == 0 &&
               mkdir("full2", 0755) == 0,
           "mkdir");
    p.make("full/in it");
    p.make("full2/in it");
    p.must(symlink("file", "link") == 0 && mkfifo("fifo", 0644) == 0 && ::link("file", "hard") == 0, "kinds");
}

void remove_kinds() {
    for (const std::string kind : kKinds) {
        unlink(kind.c_str());
        unlink((kind + "/in it").c_str());
        rmdir(kind.c_str());
    }
}

// Each kind of thing onto each other, with each flag.
void renames(Probe& p) {
    make_kinds(p);
    for (const unsigned flags : {0u, unsigned{RENAME_NOREPLACE}, unsigned{RENAME_EXCHANGE}}) {
        for (const char* from : kKinds) {
            for (const char* to : kKinds) {
                const std::string what = std::string("rename ") + from + " " + to + " " + std::to_string(flags);
                const bool done = p.call(what, renameat2(AT_FDCWD, from, AT_FDCWD, to, flags)) == 0;
                p.stat(from);
                p.stat(to);
                if (done) {
                    remove_kinds();
                    make_kinds(p);
                }
            }
        }
    }
    DO(p, renameat2(AT_FDCWD, "file", AT_FDCWD, "other", RENAME_NOREPLACE | RENAME_EXCHANGE));
    DO(p, renameat2(AT_FDCWD, "file", AT_FDCWD, "other", 0x80));
    DO(p, rename("full", "full/in it/deeper"));
    DO(p, rename("full", "full/deeper"));
    DO(p, rename("full/in it", "full"));
    DO(p, rename("empty/.", "x"));
    DO(p, rename("empty", "x/.."));
    DO(p, rename("file", "x/"));
    DO(p, rename("full", "moved/"));
    DO(p, rename("file", "nowhere/file"));
    DO(p, rename("file", "other/file"));
    DO(p, renameat2(AT_FDCWD, "moved", AT_FDCWD, "moved/x", RENAME_EXCHANGE));
    p.everything();
}

void rename_over_open(Probe& p) {
    p.make("old", "old content");
    p.make("new", "new content");
    const int fd = p.open("old", O_RDWR);
    DO(p, rename("new", "old"));
    p.fstat("replaced", fd);
    p.content("replaced", fd);
    DO(p, pwrite(fd, "OLD", 3, 0));
    DO(p, ftruncate(fd, 5));
    p.content("replaced", fd);
    p.content("old");
    const int stays = p.open("old", O_RDWR);
    DO(p, rename("old", "elsewhere"));
    DO(p, pwrite(stays, "written after its rename", 24, 4));
    p.content("elsewhere");
    DO(p, rename("elsewhere", "/dev/shm/tdfs-e2e-never"));
    DO(p, link("elsewhere", "/dev/shm/tdfs-e2e-never"));
}

// Files written through descriptors while the directories above them move.
void moving_directories(Probe& p) {
    DO(p, mkdir("a", 0755));
    DO(p, mkdir("a/b", 0755));
    const int fd = p.open("a/b/file", O_RDWR | O_CREAT);
    const int dir = p.open("a/b", O_RDONLY | O_DIRECTORY);
    DO(p, rename("a", "c"));
    DO(p, write(fd, "one", 3));
    DO(p, mkdirat(dir, "made below", 0755));
    DO(p, mkdir("a", 0755));
    DO(p, rename("c/b", "a/x"));
    DO(p, write(fd, "two", 3));
    DO(p, symlinkat("target", dir, "link"));
    DO(p, renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_EXCHANGE));
    DO(p, write(fd, "three", 5));
    DO(p, renameat(dir, "made below", AT_FDCWD, "up"));
    DO(p, fchmod(fd, 0600));
    p.everything();
}

void links(Probe& p) {
    p.make("first", "first");
    DO(p, link("first", "second"));
    DO(p, link("first", "second"));
    DO(p, mkdir("dir", 0755));
    DO(p, link("first", "dir/third"));
    DO(p, link("dir", "dir link"));
    DO(p, link("missing", "x"));
    DO(p, symlink("first", "soft"));
    DO(p, link("soft", "link of a symlink"));
    DO(p, linkat(AT_FDCWD, "soft", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
    DO(p, chmod("second", 0600));
    p.stat("first");
    DO(p, unlink("first"));
    const int fd = p.open("second", O_WRONLY | O_APPEND);
    DO(p, write(fd, " and more", 9));
    DO(p, rename("second", "dir/third"));  // the same file: nothing happens
    DO(p, unlink("second"));
    DO(p, write(fd, " by the last name", 17));
    DO(p, rename("dir/third", "moved"));
    p.everything();
    DO(p, link("theirs", "mine"));  // protected_hardlinks
    DO(p, unlink("dir"));
    DO(p, unlink("moved/"));
    DO(p, unlink("missing"));
    DO(p, unlink(""));
}

void symlinks(Probe& p) {
    const std::string longest(4095, 'x');
    DO(p, symlink(longest.c_str(), "longest"));
    DO(p, symlink((longest + "x").c_str(), "too long"));
    DO(p, symlink("", "empty"));
    DO(p, symlink("\xff\xfe target\n", "bytes"));
    DO(p, symlink("/absolute/../path", "absolute"));
    DO(p, symlink("loop", "loop"));
    p.open("loop", O_RDONLY);
    DO(p, mkdir("loop/x", 0755));
    DO(p, chmod("loop", 0644));
    p.open("loop", O_RDONLY | O_NOFOLLOW);
    p.make("end");
    std::string before = "end";
    for (int i = 0; i < 42; i++) {
        const std::string name = "chain" + std::to_string(i);
        p.must(symlink(before.c_str(), name.c_str()) == 0, name);
        before = name;
    }
    p.open("chain38", O_RDONLY);
    p.open("chain39", O_RDONLY);
    p.open("chain41", O_RDONLY);
    char small[3];
    DO(p, readlink("end", small, sizeof small));
    DO(p, readlink("absolute", small, sizeof small));
    p.everything();
}

void unlinked_but_open(Probe& p) {
    const int fd = p.open("file", O_RDWR | O_CREAT);
    DO(p, write(fd, "before", 6));
    DO(p, unlink("file"));
    p.fstat("unlinked", fd);
    DO(p, write(fd, " after", 6));
    DO(p, ftruncate(fd, 100000));
    DO(p, fchmod(fd, 0600));
    DO(p, fsync(fd));
    p.content("unlinked", fd);
    p.fstat("unlinked", fd);
    const std::string self = "/proc/self/fd/" + std::to_string(fd);
    p.call("linkat", linkat(AT_FDCWD, self.c_str(), AT_FDCWD, "again", AT_SYMLINK_FOLLOW));
    p.make("file", "another of that name");
    DO(p, write(fd, "x", 1));
    p.content("file");
    close(fd);

    // With another name left, it lives on there.
    const int other = p.open("one", O_RDWR | O_CREAT);
    DO(p, link("one", "two"));
    DO(p, unlink("one"));
    DO(p, write(other, "written after unlink", 20));
    p.make("one", "a new one");
    DO(p, unlink("two"));
    DO(p, write(other, "x", 1));
    p.everything();
}

void lengths_of_names(Probe& p) {
    const std::string longest(255, 'n');
    const std::string too_long(256, 'n');
    p.make(longest);
    p.open(too_long, O_WRONLY | O_CREAT);
    p.open(too_long, O_RDONLY);
    p.call("mkdir", mkdir(too_long.c_str(), 0755));
    p.call("symlink", symlink("x", too_long.c_str()));
    p.call("link", link(longest.c_str(), too_long.c_str()));
    p.call("mkfifo", mkfifo(too_long.c_str(), 0644));
    p.call("rename", rename(longest.c_str(), too_long.c_str()));
    p.call("rename from", rename(too_long.c_str(), "x"));
    p.call("unlink", unlink(too_long.c_str()));
    p.call("rmdir", rmdir(too_long.c_str()));
    struct stat s {};
    p.call("stat", lstat(too_long.c_str(), &s));
    const std::string other(255, '\xf0');
    p.call("rename", rename(longest.c_str(), other.c_str()));
    std::string path(".");
    while (path.size() < 4096) {
        path += "/.";
    }
    p.call("a path of 4097", lstat(path.c_str(), &s));
    p.everything();
}

void bytes_of_names(Probe& p) {
    for (const std::string name :
         {"\xff\xfe\xfd", "a\nb", "tab\there", "\x01\x02", "caf\xe9", "\xc3\x28", "back\\slash", "quote\"'", "*?[]{}$",
          "-rf", " ", "...", ".hidden", ".tdfs.", "..x", "\xed\xa0\x80", "trailing ", "%s%n", ".fuse_hidden0001"}) {
        p.make(name, name);
        p.call("mkdir", mkdir((name + "d").c_str(), 0755));
        p.call("rename", rename(name.c_str(), (name + "d/" + name).c_str()));
        p.call("symlink", symlink(name.c_str(), name.c_str()));
    }
    DO(p, mkdir("sub", 0755));
    DO(p, mkdir("sub/.tdfs", 0755));  // only the root's is special
    p.make("sub/.tdfs/file");
    p.everything();
}

// Paths longer than any single call can name.
void deep(Probe& p) {
    const std::string name(200, 'd');
    int dir = p.open(".", O_RDONLY | O_DIRECTORY);
    constexpr int kLevels = 30;
    for (int i = 0; i < kLevels; i++) {
        p.must(mkdirat(dir, name.c_str(), 0755) == 0, "mkdirat");
        const int next = openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY);
        p.must(next >= 0, "openat");
        close(dir);
        dir = next;
    }
    const int fd = p.fd("create at the bottom", openat(dir, "bottom", O_RDWR | O_CREAT, 0644));
    DO(p, write(fd, "deep", 4));
    DO(p, renameat(dir, "bottom", dir, "renamed"));
    DO(p, linkat(dir, "renamed", dir, "linked", 0));
    DO(p, symlinkat("renamed", dir, "soft"));
    DO(p, mkdirat(dir, "dir", 0700));
    DO(p, fchmodat(dir, "renamed", 0600, 0));
    const timespec times[2] = {{1, 2}, {3, 4}};
    DO(p, utimensat(dir, "linked", times, 0));
    DO(p, unlinkat(dir, "linked", 0));
    DO(p, write(fd, "er", 2));
    p.fstat("bottom", fd);
    p.content("bottom", fd);
    // Near the top a rename moves all of it.
    p.call("rename of the top", rename(name.c_str(), "top"));
    DO(p, write(fd, "!", 1));
    DO(p, unlinkat(dir, "dir", AT_REMOVEDIR));
    p.content("bottom", fd);
}

void sticky(Probe& p) {
    DO(p, unlink("sticky/theirs"));
    DO(p, rename("sticky/theirs", "sticky/x"));
    p.make("sticky/mine");
    DO(p, rename("sticky/mine", "sticky/theirs"));
    DO(p, rename("sticky/mine", "sticky/mine2"));
    DO(p, unlink("sticky/mine2"));
    DO(p, rmdir("sticky/dir"));
    DO(p, rename("sticky/dir", "moved"));  // a directory of somebody else's: its ".." would change
    DO(p, unlink("open/theirs"));
    p.everything();
}

void prepare_sticky(Probe& p) {
    p.must(mkdir("sticky", 0777) == 0 && chmod("sticky", 01777) == 0 && mkdir("open", 0777) == 0 &&
               chmod("open", 0777) == 0 && mkdir("sticky/dir", 0755) == 0,
           "sticky");
    p.make("sticky/theirs");
    p.make("open/theirs");
}

const AddCase kCases[] = {
    AddCase{{"directories", directories}},
    AddCase{{"listing", listing}},
    AddCase{{"entry types", entry_types}},
    AddCase{{"special files", special_files}},
    AddCase{{"renames", renames}},
    AddCase{{"rename over an open file", rename_over_open}},
    AddCase{{"moving directories", moving_directories}},
    AddCase{{"links", links, [](Probe& p) { p.make("theirs", "theirs", 0600); }}},
    AddCase{{"symlinks", symlinks}},
    AddCase{{"unlinked but open", unlinked_but_open}},
    AddCase{{"lengths of names", lengths_of_names}},
    AddCase{{"bytes of names", bytes_of_names}},
    AddCase{{"deep", deep}},
    AddCase{{"sticky", sticky, prepare_sticky}},
};

}  // namespace
}  // namespace tdfs::e2e

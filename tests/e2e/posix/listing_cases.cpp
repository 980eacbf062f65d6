// Listings of a directory that others change: a kernel that keeps them must notice.

#include <dirent.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/e2e/posix/probe.hpp"

namespace tdfs::e2e {
namespace {

bool in_another_process(const std::function<bool()>& what) {
    const pid_t child = fork();
    if (child == 0) _exit(what() ? 0 : 1);
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

std::vector<std::string> list(const std::string& path) {
    std::vector<std::string> names;
    DIR* const dir = opendir(path.c_str());
    if (dir == nullptr) return names;
    while (const dirent* entry = readdir(dir)) names.emplace_back(entry->d_name);
    closedir(dir);
    return names;
}

std::string sorted(std::vector<std::string> names) {
    std::sort(names.begin(), names.end());
    std::string text;
    for (const std::string& name : names) text += name + " ";
    return text;
}

bool make_file(const std::string& path) {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
    return fd >= 0 && close(fd) == 0;
}

void changed_by_others(Probe& p) {
    p.must(mkdir("d", 0755) == 0 && mkdir("aside", 0755) == 0 && make_file("aside/in") && make_file("d/first"), "make");
    const auto rename2 = [](const char* from, const char* to, unsigned flags) {
        return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags) == 0;
    };
    const std::vector<std::pair<const char*, std::function<bool()>>> changes = {
        {"nothing", [] { return true; }},
        {"create", [] { return make_file("d/created"); }},
        {"mkdir", [] { return mkdir("d/made", 0755) == 0; }},
        {"symlink", [] { return symlink("x", "d/symlink") == 0; }},
        {"mkfifo", [] { return mkfifo("d/fifo", 0644) == 0; }},
        {"link", [] { return link("aside/in", "d/linked") == 0; }},
        {"rename", [] { return rename("d/created", "d/renamed") == 0; }},
        {"rename in", [] { return rename("aside/in", "d/in") == 0; }},
        {"rename over", [] { return rename("d/in", "d/first") == 0; }},
        {"exchange", [&] { return rename2("d/first", "aside", RENAME_EXCHANGE); }},
        {"exchange back", [&] { return rename2("d/first", "aside", RENAME_EXCHANGE); }},
        {"no replace", [&] { return !rename2("d/first", "d/fifo", RENAME_NOREPLACE); }},
        {"rename out", [] { return rename("d/renamed", "aside/out") == 0; }},
        {"unlink", [] { return unlink("d/fifo") == 0; }},
        {"rmdir", [] { return rmdir("d/made") == 0; }},
        {"created and gone", [] { return make_file("d/short") && unlink("d/short") == 0; }},
        {"the directory itself", [] { return rename("d", "e") == 0 && mkdir("d", 0755) == 0 && make_file("d/other"); }},
        {"back", [&] { return rename2("d", "e", RENAME_EXCHANGE); }},
    };
    DIR* const kept_open = opendir("d");
    for (const auto& [name, change] : changes) {
        list("d");
        list("d");
        p.must(in_another_process(change), name);
        p.note(std::string("after ") + name, sorted(list("d")));
        p.note("and again", sorted(list("d")));
        rewinddir(kept_open);
        std::vector<std::string> rewound;
        while (const dirent* entry = readdir(kept_open)) rewound.emplace_back(entry->d_name);
        p.note("rewound", sorted(rewound));
    }
    closedir(kept_open);
}

// A stream read in small pieces, so that there is a place in it while others change the directory.
class Pieces {
  public:
    explicit Pieces(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_DIRECTORY)) {}
    ~Pieces() { close(fd_); }
    Pieces(const Pieces&) = delete;
    Pieces& operator=(const Pieces&) = delete;

    // The names of the next piece; none at the end.
    std::vector<std::string> next() {
        alignas(dirent64) char buffer[512];
        const long bytes = syscall(SYS_getdents64, fd_, buffer, sizeof buffer);
        std::vector<std::string> names;
        for (long at = 0; at < bytes;) {
            const auto* const entry = reinterpret_cast<const dirent64*>(buffer + at);
            names.emplace_back(entry->d_name);
            at += entry->d_reclen;
        }
        return names;
    }

  private:
    const int fd_;
};

// Names of eight letters take 32 bytes in the kernel's cache of a listing, so that some of these counts fill its pages exactly.
void half_read(Probe& p) {
    for (const std::size_t stay : {20u, 100u, 125u, 126u, 127u, 254u, 382u, 500u}) {
        constexpr std::size_t kGo = 9;
        p.must(mkdir("d", 0755) == 0, "mkdir");
        for (std::size_t i = 0; i < stay + kGo; i++) {
            char name[32];
            std::snprintf(name, sizeof name, "d/f%07zu", i);
            p.must(make_file(name), name);
        }
        list("d");
        const std::vector<std::string> order = list("d");
        Pieces stream("d");
        std::map<std::string, int> seen;
        for (const std::string& name : stream.next()) seen[name]++;
        // What the stream would return next goes, and others read the directory to its end.
        std::vector<std::string> go;
        for (const std::string& name : order) {
            if (seen.count(name) == 0 && name[0] == 'f' && go.size() < kGo) go.push_back(name);
        }
        p.must(in_another_process([&] {
                   for (const std::string& name : go) {
                       if (unlink(("d/" + name).c_str()) != 0) return false;
                   }
                   return list("d").size() == stay + 2 && list("d").size() == stay + 2;
               }),
               "remove and list");
        for (auto piece = stream.next(); !piece.empty(); piece = stream.next()) {
            for (const std::string& name : piece) seen[name]++;
        }
        std::size_t missing = 0, twice = 0;
        for (const std::string& name : order) {
            if (std::find(go.begin(), go.end(), name) != go.end()) continue;
            missing += seen[name] == 0 ? 1 : 0;
            twice += seen[name] > 1 ? 1 : 0;
        }
        p.note("of " + std::to_string(stay) + " names that stay, not listed", missing);
        p.note("listed twice", twice);
        for (const std::string& name : list("d")) unlink(("d/" + name).c_str());
        p.must(rmdir("d") == 0, "rmdir");
    }
}

// A directory that is used without a name: as the working directory, and by a descriptor.
void removed_but_used(Probe& p) {
    for (const bool by_rename : {false, true}) {
        p.must(mkdir("gone", 0750) == 0 && mkdir("other", 0700) == 0, "mkdir");
        const int gone = p.open("gone", O_RDONLY | O_DIRECTORY);
        p.must(in_another_process([&] { return by_rename ? rename("other", "gone") == 0 : rmdir("gone") == 0; }),
               "remove");
        p.fstat("removed", gone);
        char buffer[512];
        DO(p, syscall(SYS_getdents64, gone, buffer, sizeof buffer));
        DO(p, fchmod(gone, 0711));
        DO(p, fsync(gone));
        p.must(fchdir(gone) == 0, "fchdir");
        p.stat(".");
        p.note("names in it", sorted(list(".")));
        p.fd("create in it", open("file", O_WRONLY | O_CREAT, 0644));
        DO(p, chdir(".."));
        close(gone);
        p.must(rmdir(by_rename ? "gone" : "other") == 0, "rmdir");
    }
}

const AddCase kCases[] = {
    AddCase{{"listings of what others change", changed_by_others}},
    AddCase{{"half-read listings", half_read}},
    AddCase{{"removed but used directories", removed_but_used}},
};

}  // namespace
}  // namespace tdfs::e2e

#include "tests/e2e/storm/operations.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace tdfs::e2e {
namespace {

int outcome(long result) { return result < 0 ? errno : 0; }

// Closes at the end without touching errno of what went before.
class Open {
  public:
    Open(const std::string& path, int flags, mode_t mode = 0)
        : fd_(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode)) {}
    ~Open() {
        if (fd_ >= 0) {
            const int error = errno;
            close(fd_);
            errno = error;
        }
    }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
    [[nodiscard]] int fd() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }

  private:
    int fd_;
};

}  // namespace

const Operations::Weighted Operations::kOperations[] = {
    {"create", &Operations::create, 20},
    {"append", &Operations::append, 8},
    {"overwrite", &Operations::overwrite, 12},
    {"truncate", &Operations::cut, 5},
    {"fallocate", &Operations::allocate, 4},
    {"copy_file_range", &Operations::copy, 3},
    {"mmap", &Operations::map, 4},
    {"O_TMPFILE", &Operations::unnamed, 3},
    {"unlinked", &Operations::unlinked, 3},
    {"rename", &Operations::rename, 8},
    {"exchange", &Operations::exchange, 3},
    {"swap", &Operations::swap, 4},
    {"kept open", &Operations::keep, 10},
    {"rename directory", &Operations::rename_directory, 4},
    {"link", &Operations::link, 6},
    {"unlink", &Operations::unlink, 8},
    {"mkdir", &Operations::make_directory, 8},
    {"rmdir", &Operations::remove_directory, 4},
    {"symlink", &Operations::symlink, 3},
    {"mknod", &Operations::special, 2},
    {"chmod", &Operations::mode, 3},
    {"chown", &Operations::owner, 3},
    {"utimensat", &Operations::times, 3},
    {"setxattr", &Operations::set_xattr, 4},
    {"removexattr", &Operations::remove_xattr, 2},
    {"acl", &Operations::access_list, 2},
    {"read", &Operations::look, 4},
    {"list", &Operations::list, 2},
};

Operations::~Operations() {
    for (const int fd : kept_) {
        if (fd >= 0) {
            close(fd);
        }
    }
}

Operations::Done Operations::any() {
    unsigned all = 0;
    for (const Weighted& one : kOperations) {
        all += one.weight;
    }
    std::size_t at = below(all);
    const Weighted* chosen = kOperations;
    while (at >= chosen->weight) {
        at -= chosen->weight;
        chosen++;
    }
    // Some of it as somebody else: what is made then belongs to him.
    const bool other = below(10) == 0;
    if (other) {
        setfsgid(12346);
        setfsuid(12345);
    }
    const int error = (this->*chosen->run)();
    if (other) {
        setfsuid(0);
        setfsgid(0);
    }
    return {chosen->name, error};
}

std::string Operations::directory() {
    std::string path = root_;
    for (std::size_t depth = below(4); depth > 0; depth--) {
        path += "/d" + std::to_string(below(4));
    }
    return path;
}

std::string Operations::path() {
    // Now and then a name that may be anything, directory or file.
    return directory() + (below(12) == 0 ? "/d" : "/f") + std::to_string(below(8));
}

std::string Operations::text() {
    const std::size_t kind = below(20);
    const std::size_t size = kind == 0 ? below(600'000) : kind < 4 ? below(70'000) : below(5'000);
    std::string bytes(size, '\0');
    const bool compressible = below(2) == 0;
    for (std::size_t i = 0; i < size; i += 8) {
        const std::uint64_t word = compressible ? 0x6162636465666768 : random_();
        for (std::size_t k = 0; k < 8 && i + k < size; k++) {
            bytes[i + k] = static_cast<char>(word >> (8 * k));
        }
    }
    return bytes;
}

int Operations::create() {
    const int more = below(4) == 0 ? O_EXCL : below(2) == 0 ? O_TRUNC : 0;
    const Open file(path(), O_CREAT | (below(2) == 0 ? O_WRONLY : O_RDWR) | more, below(2) == 0 ? 0644 : 0600);
    if (!file) {
        return errno;
    }
    int error = 0;
    for (std::size_t n = below(3); n > 0 && error == 0; n--) {
        const std::string bytes = text();
        error = outcome(write(file.fd(), bytes.data(), bytes.size()));
    }
    return error != 0 || below(20) != 0 ? error : outcome(fsync(file.fd()));
}

int Operations::append() {
    const Open file(path(), O_WRONLY | O_APPEND | (below(2) == 0 ? O_CREAT : 0), 0644);
    const std::string bytes = text();
    return file ? outcome(write(file.fd(), bytes.data(), bytes.size())) : errno;
}

int Operations::overwrite() {
    const Open file(path(), below(2) == 0 ? O_WRONLY : O_RDWR);
    if (!file) {
        return errno;
    }
    const std::string bytes = text();
    const off_t at = static_cast<off_t>(below(below(10) == 0 ? 5'000'000 : 50'000));
    return outcome(pwrite(file.fd(), bytes.data(), bytes.size(), at));
}

int Operations::cut() {
    const off_t size = static_cast<off_t>(below(100'000));
    if (below(2) == 0) {
        return outcome(truncate(path().c_str(), size));
    }
    const Open file(path(), O_RDWR);
    return file ? outcome(ftruncate(file.fd(), size)) : errno;
}

int Operations::allocate() {
    constexpr int kModes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
                              FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    const Open file(path(), O_RDWR);
    const off_t at = static_cast<off_t>(below(100'000)), size = static_cast<off_t>(1 + below(50'000));
    return file ? outcome(fallocate(file.fd(), kModes[below(5)], at, size)) : errno;
}

int Operations::copy() {
    const Open from(path(), O_RDONLY), to(path(), O_RDWR);
    if (!from || !to) {
        return ENOENT;
    }
    loff_t in = static_cast<loff_t>(below(1000)), out = static_cast<loff_t>(below(50'000));
    return outcome(copy_file_range(from.fd(), &in, to.fd(), &out, below(50'000), 0));
}

// Stores through a shared mapping. The kernel does the storing, because another thread may truncate the file meanwhile:
// for it that is an error, for this process it would be a SIGBUS.
int Operations::map() {
    const Open file(path(), O_RDWR);
    struct stat s {};
    if (!file || fstat(file.fd(), &s) != 0) {
        return errno;
    }
    if (s.st_size == 0) {
        return 0;
    }
    const auto size = static_cast<std::size_t>(s.st_size);
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
    if (at == MAP_FAILED) {
        return errno;
    }
    const Open source("/dev/urandom", O_RDONLY);
    const std::size_t offset = below(size);
    const int error =
        outcome(read(source.fd(), static_cast<char*>(at) + offset, std::min<std::size_t>(size - offset, 5000)));
    msync(at, size, MS_SYNC);
    munmap(at, size);
    return error;
}

int Operations::unnamed() {
    const Open file(directory(), O_TMPFILE | O_RDWR, 0640);
    const std::string bytes = text();
    if (!file || write(file.fd(), bytes.data(), bytes.size()) < 0) {
        return errno;
    }
    const std::string self = "/proc/self/fd/" + std::to_string(file.fd());
    const int error = outcome(linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path().c_str(), AT_SYMLINK_FOLLOW));
    return error != 0 ? error : outcome(write(file.fd(), "named", 5));
}

int Operations::unlinked() {
    const std::string name = path();
    const Open file(name, O_RDWR);
    if (!file) {
        return errno;
    }
    const std::string bytes = text();
    const int error = outcome(::unlink(name.c_str()));
    return error != 0 ? error : outcome(pwrite(file.fd(), bytes.data(), bytes.size(), 10));
}

int Operations::rename() {
    const unsigned flags = below(4) == 0 ? RENAME_NOREPLACE : 0;
    return outcome(renameat2(AT_FDCWD, path().c_str(), AT_FDCWD, path().c_str(), flags));
}

int Operations::exchange() {
    return outcome(renameat2(AT_FDCWD, path().c_str(), AT_FDCWD, path().c_str(), RENAME_EXCHANGE));
}

// As editors and databases do it: a to t, b to a, t to b. Others may come between any two steps.
int Operations::swap() {
    const std::string in = directory(), a = in + "/f" + std::to_string(below(8)),
                      b = in + "/f" + std::to_string(below(8)), t = in + "/t";
    for (const auto& [from, to] : {std::pair{&a, &t}, {&b, &a}, {&t, &b}}) {
        if (::rename(from->c_str(), to->c_str()) != 0) {
            return errno;
        }
    }
    return 0;
}

// One step with a file that was opened long ago. After an error it is closed, and opened anew another time.
int Operations::keep() {
    int& fd = kept_[below(kept_.size())];
    if (fd < 0) {
        fd = open(path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
        return outcome(fd);
    }
    const std::string bytes = text();
    const auto at = static_cast<off_t>(below(100'000));
    const std::size_t kind = below(10);
    const int error = outcome(kind == 0   ? fsync(fd)
                              : kind == 1 ? ftruncate(fd, at)
                              : kind == 2 ? fchmod(fd, 0640)
                                          : pwrite(fd, bytes.data(), bytes.size(), at));
    if (error != 0 || below(20) == 0) {
        close(std::exchange(fd, -1));
    }
    return error;
}

int Operations::rename_directory() {
    const std::string from = directory(), to = directory();
    return from == root_ || to == root_ ? 0 : outcome(::rename(from.c_str(), to.c_str()));
}

int Operations::link() { return outcome(::link(path().c_str(), path().c_str())); }

int Operations::unlink() { return outcome(::unlink(path().c_str())); }

int Operations::make_directory() {
    return outcome(mkdir((directory() + "/d" + std::to_string(below(4))).c_str(), below(5) == 0 ? 02777 : 0755));
}

int Operations::remove_directory() {
    const std::string name = directory();
    return name == root_ ? 0 : outcome(rmdir(name.c_str()));
}

int Operations::symlink() { return outcome(::symlink(("f" + std::to_string(below(8))).c_str(), path().c_str())); }

int Operations::special() {
    const mode_t kinds[] = {S_IFIFO | 0644, S_IFCHR | 0600, S_IFSOCK | 0644, S_IFREG | 0600};
    const std::size_t kind = below(4);
    return outcome(mknod(path().c_str(), kinds[kind], kind == 1 ? makedev(1, 3) : 0));
}

int Operations::mode() {
    const mode_t modes[] = {0644, 0600, 0755, 04755, 02755, 0777, 01777, 0};
    return outcome(chmod(path().c_str(), modes[below(8)]));
}

int Operations::owner() {
    const uid_t ids[] = {0, 12345, 54321, static_cast<uid_t>(-1)};
    return outcome(lchown(path().c_str(), ids[below(4)], ids[below(4)]));
}

int Operations::times() {
    const timespec some{static_cast<time_t>(below(2'000'000'000)), static_cast<long>(below(1'000'000'000))};
    const timespec kinds[] = {some, {0, UTIME_NOW}, {0, UTIME_OMIT}};
    const timespec both[2] = {kinds[below(3)], kinds[below(3)]};
    return outcome(utimensat(AT_FDCWD, path().c_str(), both, AT_SYMLINK_NOFOLLOW));
}

int Operations::set_xattr() {
    const std::string name = (below(5) == 0 ? "trusted.x" : "user.x") + std::to_string(below(4));
    const std::string value(below(100), static_cast<char>('a' + below(26)));
    const int flags[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};
    return outcome(lsetxattr(path().c_str(), name.c_str(), value.data(), value.size(), flags[below(4)]));
}

int Operations::remove_xattr() {
    return outcome(lremovexattr(path().c_str(), ("user.x" + std::to_string(below(4))).c_str()));
}

int Operations::access_list() {
    // Version 2; then owner rwx, user 12345 rw-, group r-x, mask rwx, other r--: (tag, permissions, id) each.
    static constexpr unsigned char kList[] = {2,    0,    0,    0,    1,  0, 7, 0, 0xff, 0xff, 0xff, 0xff, 2,  0, 6, 0,
                                              0x39, 0x30, 0,    0,    4,  0, 5, 0, 0xff, 0xff, 0xff, 0xff, 16, 0, 7, 0,
                                              0xff, 0xff, 0xff, 0xff, 32, 0, 4, 0, 0xff, 0xff, 0xff, 0xff};
    const bool inherited = below(2) == 0;
    const std::string name = inherited ? directory() : path();
    const char* which = inherited ? "system.posix_acl_default" : "system.posix_acl_access";
    return outcome(below(3) == 0 ? removexattr(name.c_str(), which)
                                 : setxattr(name.c_str(), which, kList, sizeof kList, 0));
}

int Operations::look() {
    const Open file(path(), O_RDONLY);
    char buffer[4096];
    return file ? outcome(pread(file.fd(), buffer, sizeof buffer, static_cast<off_t>(below(20'000)))) : errno;
}

int Operations::list() {
    DIR* dir = opendir(directory().c_str());
    if (dir == nullptr) {
        return errno;
    }
    while (readdir(dir) != nullptr) {
    }
    closedir(dir);
    return 0;
}

}  // namespace tdfs::e2e

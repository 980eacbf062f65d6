#include "tests/e2e/prefix/registers.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace tdfs::e2e {
namespace {

constexpr std::size_t kDigits = 16;

enum class Kind : std::uint64_t {
    kOverwrite,
    kAppend,
    kRenameOver,
    kExchange,
    kCreate,
    kLink,
    kSymlink,
    kXattr,
    kDirectory,
    kTruncate,
    kOwner,
    kRenameDirectory,
    kTimes
};

Kind kind_of(std::uint64_t i) { return static_cast<Kind>(i % Registers::kKinds); }

// The last change of register i among 1..upto, and how many there were.
struct Last {
    std::uint64_t number = 0, count = 0;
};

Last last_of(std::uint64_t i, std::uint64_t upto) {
    const std::uint64_t first = i == 0 ? Registers::kRegisters : i;
    if (upto < first) {
        return {};
    }
    const std::uint64_t before = (upto - first) / Registers::kRegisters;
    return {first + before * Registers::kRegisters, before + 1};
}

std::string digits(std::uint64_t n) {
    char text[kDigits + 1];
    std::snprintf(text, sizeof text, "%016llu", static_cast<unsigned long long>(n));
    return text;
}

bool write_file(const std::string& path, const std::string& text, int flags) {
    const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC | flags, 0644);
    if (fd < 0) {
        return false;
    }
    const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    return close(fd) == 0 && written;
}

// The same twice: one read may meet a write half way.
std::string read_stable(const std::string& path, off_t at, std::size_t size) {
    std::string before, now = "?";
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && before != now) {
        before = now;
        now.resize(size);
        const ssize_t n = pread(fd, now.data(), size, at);
        now.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    }
    if (fd >= 0) {
        close(fd);
    }
    return fd < 0 ? "" : now;
}

bool exists(const std::string& path) {
    struct stat s {};
    return lstat(path.c_str(), &s) == 0;
}

Registers::Reading number(std::uint64_t n) { return {true, n, ""}; }

Registers::Reading number(const std::string& text, const std::string& where) {
    if (text.size() != kDigits || text.find_first_not_of("0123456789") != std::string::npos) {
        return {true, 0, where + " holds '" + text + "'"};
    }
    return number(std::strtoull(text.c_str(), nullptr, 10));
}

Registers::Reading parity(bool odd) { return {false, odd ? 1U : 0U, ""}; }

}  // namespace

std::string Registers::name(const char* letter, std::uint64_t i) const {
    return root_ + "/" + letter + std::to_string(i);
}

bool Registers::set_up() const {
    if (mkdir(root_.c_str(), 0755) != 0) {
        return false;
    }
    bool good = true;
    for (std::uint64_t i = 0; i < kRegisters; i++) {
        good = good && write_file(name("base", i), digits(0), O_CREAT | O_EXCL);
        switch (kind_of(i)) {
            case Kind::kAppend:
            case Kind::kTruncate:
                good = good && truncate(name("base", i).c_str(), 0) == 0;
                break;
            case Kind::kExchange:
                good = good && write_file(name("a", i), "0", O_CREAT) && write_file(name("b", i), "1", O_CREAT);
                break;
            case Kind::kSymlink:
                good = good && symlink(digits(0).c_str(), name("link", i).c_str()) == 0;
                break;
            case Kind::kXattr:
                good = good && setxattr(name("base", i).c_str(), "user.n", digits(0).c_str(), kDigits, 0) == 0;
                break;
            case Kind::kRenameDirectory:
                good =
                    good && mkdir(name("a", i).c_str(), 0755) == 0 && write_file(name("a", i) + "/file", "x", O_CREAT);
                break;
            case Kind::kTimes: {
                const timespec zero[2] = {};
                good = good && utimensat(AT_FDCWD, name("base", i).c_str(), zero, 0) == 0;
                break;
            }
            default:
                break;
        }
    }
    return good;
}

bool Registers::change(std::uint64_t n) const {
    const std::uint64_t i = n % kRegisters;
    const bool odd = last_of(i, n).count % 2 == 1;
    const std::string base = name("base", i), a = name("a", i), b = name("b", i), fresh = name("new", i);
    switch (kind_of(i)) {
        case Kind::kOverwrite:
            return write_file(base, digits(n), 0);
        case Kind::kAppend:
            return write_file(base, digits(n), O_APPEND);
        case Kind::kRenameOver:
            return write_file(fresh, digits(n), O_CREAT | O_EXCL) && rename(fresh.c_str(), base.c_str()) == 0;
        case Kind::kExchange:
            return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
        case Kind::kCreate:
            return odd ? write_file(a, "", O_CREAT | O_EXCL) : unlink(a.c_str()) == 0;
        case Kind::kLink:
            return odd ? link(base.c_str(), a.c_str()) == 0 : unlink(a.c_str()) == 0;
        case Kind::kSymlink:
            return symlink(digits(n).c_str(), fresh.c_str()) == 0 &&
                   rename(fresh.c_str(), name("link", i).c_str()) == 0;
        case Kind::kXattr:
            return setxattr(base.c_str(), "user.n", digits(n).c_str(), kDigits, 0) == 0;
        case Kind::kDirectory:
            return odd ? mkdir(a.c_str(), 0755) == 0 : rmdir(a.c_str()) == 0;
        case Kind::kTruncate:
            return truncate(base.c_str(), static_cast<off_t>(n)) == 0;
        case Kind::kOwner:
            return lchown(base.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(n)) == 0;
        case Kind::kRenameDirectory:
            return odd ? rename(a.c_str(), b.c_str()) == 0 : rename(b.c_str(), a.c_str()) == 0;
        case Kind::kTimes: {
            const timespec times[2] = {{0, UTIME_OMIT}, {static_cast<time_t>(n), 0}};
            return utimensat(AT_FDCWD, base.c_str(), times, 0) == 0;
        }
    }
    return false;
}

Registers::Reading Registers::read(std::uint64_t i) const {
    const std::string base = name("base", i), a = name("a", i), b = name("b", i);
    struct stat s {};
    const bool good = lstat(base.c_str(), &s) == 0;
    switch (kind_of(i)) {
        case Kind::kOverwrite:
        case Kind::kRenameOver:
            return number(read_stable(base, 0, kDigits), base);
        case Kind::kAppend: {
            const auto size = static_cast<std::uint64_t>(s.st_size);
            const Last last = last_of(i, (i == 0 ? 0 : i) + (size / kDigits - (i == 0 ? 0 : 1)) * kRegisters);
            if (size == 0) {
                return number(0);
            }
            const Reading end = number(read_stable(base, static_cast<off_t>(size - kDigits), kDigits), base);
            if (size % kDigits != 0 || end.value != last.number) {
                return {true, 0,
                        base + " of " + std::to_string(size) + " bytes ends with " + std::to_string(end.value)};
            }
            return end;
        }
        case Kind::kExchange:
            return parity(read_stable(a, 0, 1) == "1");
        case Kind::kCreate:
        case Kind::kDirectory:
            return parity(exists(a));
        case Kind::kLink:
            return parity(s.st_nlink == 2);
        case Kind::kSymlink: {
            char target[64];
            const ssize_t n = readlink(name("link", i).c_str(), target, sizeof target);
            return number(std::string(target, n < 0 ? 0 : static_cast<std::size_t>(n)), name("link", i));
        }
        case Kind::kXattr: {
            char value[64];
            const ssize_t n = getxattr(base.c_str(), "user.n", value, sizeof value);
            return number(std::string(value, n < 0 ? 0 : static_cast<std::size_t>(n)), base + " user.n");
        }
        case Kind::kTruncate:
            return good ? number(static_cast<std::uint64_t>(s.st_size)) : Reading{true, 0, base + " is missing"};
        case Kind::kOwner:
            return good ? number(s.st_gid) : Reading{true, 0, base + " is missing"};
        case Kind::kRenameDirectory:
            return parity(exists(b + "/file"));
        case Kind::kTimes:
            return good ? number(static_cast<std::uint64_t>(s.st_mtim.tv_sec)) : Reading{true, 0, base + " is missing"};
    }
    return {};
}

bool Registers::fits(std::uint64_t i, const Reading& reading, std::uint64_t upto) {
    const Last last = last_of(i, upto);
    return reading.is_number ? reading.value == last.number : reading.value == last.count % 2;
}

std::uint64_t Registers::first_fit(std::uint64_t i, const Reading& reading, std::uint64_t upto) {
    for (std::uint64_t state :
         {upto, reading.is_number ? reading.value : upto + (i + kRegisters - upto % kRegisters - 1) % kRegisters + 1}) {
        if (state >= upto && fits(i, reading, state)) {
            return state;
        }
    }
    return 0;
}

std::string Watcher::look(std::uint64_t i) {
    const Registers::Reading reading = registers_.read(i);
    if (!reading.broken.empty()) {
        return "after change " + std::to_string(seen_) + ": " + reading.broken;
    }
    if (Registers::fits(i, reading, seen_)) {
        return "";
    }
    const std::uint64_t state = Registers::first_fit(i, reading, seen_);
    if (state == 0) {
        return "change " + std::to_string(seen_) + " was seen, but register " + std::to_string(i) + " shows " +
               std::to_string(reading.value) + " and not " + std::to_string(last_of(i, seen_).number);
    }
    seen_ = state;
    return "";
}

std::string Watcher::look() {
    for (std::uint64_t i = 0; i < Registers::kRegisters; i++) {
        if (std::string wrong = look(i); !wrong.empty()) {
            return wrong;
        }
    }
    return "";
}

std::string Watcher::look_at_rest() {
    for (std::uint64_t before = seen_ + 1; before != seen_;) {  // until nothing new is found
        before = seen_;
        if (std::string wrong = look(); !wrong.empty()) {
            return wrong;
        }
    }
    return "";
}

}  // namespace tdfs::e2e

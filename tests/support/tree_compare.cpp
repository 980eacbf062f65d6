#include "tests/support/tree_compare.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

namespace tdfs::test {
namespace {

class Fd {
  public:
    explicit Fd(int fd) : fd_(fd) {}
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }

  private:
    int fd_;
};

std::string shown(const std::string& bytes) {
    std::string out;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f && c != '\\') {
            out += c;
        } else {
            std::array<char, 8> hex{};
            std::snprintf(hex.data(), hex.size(), "\\x%02x", byte);
            out += hex.data();
        }
    }
    return out;
}

std::string octal(unsigned value) {
    std::array<char, 24> text{};
    std::snprintf(text.data(), text.size(), "%07o", value);
    return text.data();
}

std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

using Xattrs = std::map<std::string, std::string>;

// Of the object itself; `fd` may be O_PATH. File systems without extended attributes have none.
std::optional<Xattrs> xattrs_of(int fd) {
    const auto path = proc_path(fd);
    std::vector<char> names(65536);
    const auto n = ::listxattr(path.c_str(), names.data(), names.size());
    if (n < 0) return errno == ENOTSUP ? std::optional(Xattrs{}) : std::nullopt;
    Xattrs out;
    for (std::size_t at = 0; at < static_cast<std::size_t>(n);) {
        const std::string name(names.data() + at);
        at += name.size() + 1;
        std::vector<char> value(65536);
        const auto size = ::getxattr(path.c_str(), name.c_str(), value.data(), value.size());
        if (size < 0) return std::nullopt;
        out[name] = std::string(value.data(), static_cast<std::size_t>(size));
    }
    return out;
}

std::optional<std::string> target_of(int dir, const std::string& name) {
    std::string out(65536, '\0');
    const auto n = ::readlinkat(dir, name.c_str(), out.data(), out.size());
    if (n < 0) return std::nullopt;
    out.resize(static_cast<std::size_t>(n));
    return out;
}

std::optional<std::vector<std::string>> names_of(int dir) {
    const int copy = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0) return std::nullopt;
    DIR* stream = ::fdopendir(copy);
    if (stream == nullptr) {
        ::close(copy);
        return std::nullopt;
    }
    std::vector<std::string> out;
    errno = 0;
    while (const auto* e = ::readdir(stream)) {
        const std::string name = e->d_name;
        if (name != "." && name != "..") out.push_back(name);
    }
    const bool failed = errno != 0;
    ::closedir(stream);
    if (failed) return std::nullopt;
    std::sort(out.begin(), out.end());
    return out;
}

// Beginnings and ends of data in units of 4 KiB, adjoining pieces joined.
std::optional<std::vector<std::pair<off_t, off_t>>> data_map(int fd, off_t size) {
    constexpr off_t kUnit = 4096;
    std::vector<std::pair<off_t, off_t>> out;
    for (off_t at = 0; at < size;) {
        const auto data = ::lseek(fd, at, SEEK_DATA);
        if (data < 0) {
            if (errno == ENXIO) break;
            return std::nullopt;
        }
        const auto hole = ::lseek(fd, data, SEEK_HOLE);
        if (hole < 0) return std::nullopt;
        const auto begin = data / kUnit;
        const auto end = (hole + kUnit - 1) / kUnit;
        if (!out.empty() && out.back().second >= begin) {
            out.back().second = std::max(out.back().second, end);
        } else {
            out.emplace_back(begin, end);
        }
        at = hole;
    }
    return out;
}

using Map = std::vector<std::pair<off_t, off_t>>;

// What the file system has set aside for a file, in units of 4 KiB: where something was written, and all of it. Space
// that is allocated but was never written may count as either (SEEK_DATA tells by what happens to be in memory).
struct Allocation {
    Map written;
    Map all;
};

std::optional<Allocation> allocation(int fd, off_t size) {
    constexpr off_t kUnit = 4096;
    constexpr std::size_t kExtents = 512;
    const auto add = [&](Map& map, off_t begin, off_t end) {
        if (!map.empty() && map.back().second >= begin) {
            map.back().second = std::max(map.back().second, end);
        } else {
            map.emplace_back(begin, end);
        }
    };
    std::vector<std::uint64_t> buffer((sizeof(fiemap) + kExtents * sizeof(fiemap_extent)) / sizeof(std::uint64_t) + 1);
    auto* const request = reinterpret_cast<fiemap*>(buffer.data());
    Allocation out;
    for (off_t at = 0; at < size;) {
        std::fill(buffer.begin(), buffer.end(), 0);
        request->fm_start = static_cast<std::uint64_t>(at);
        request->fm_length = static_cast<std::uint64_t>(size - at);
        request->fm_flags = FIEMAP_FLAG_SYNC;
        request->fm_extent_count = kExtents;
        if (::ioctl(fd, FS_IOC_FIEMAP, request) != 0) return std::nullopt;
        for (std::uint32_t i = 0; i < request->fm_mapped_extents; ++i) {
            const fiemap_extent& e = request->fm_extents[i];
            const auto begin = static_cast<off_t>(e.fe_logical), end = static_cast<off_t>(e.fe_logical + e.fe_length);
            add(out.all, begin / kUnit, (end + kUnit - 1) / kUnit);
            if ((e.fe_flags & FIEMAP_EXTENT_UNWRITTEN) == 0) add(out.written, begin / kUnit, (end + kUnit - 1) / kUnit);
            at = end;
            if ((e.fe_flags & FIEMAP_EXTENT_LAST) != 0) return out;
        }
        if (request->fm_mapped_extents == 0) break;
    }
    return out;
}

// Whether every block of `inner` lies in `outer`.
bool is_covered(const Map& inner, const Map& outer) {
    auto o = outer.begin();
    for (const auto& [begin, end] : inner) {
        while (o != outer.end() && o->second <= begin) ++o;
        if (o == outer.end() || o->first > begin || o->second < end) return false;
    }
    return true;
}

std::string map_text(const std::vector<std::pair<off_t, off_t>>& map) {
    std::string out;
    for (std::size_t i = 0; i < map.size(); ++i) {
        if (i == 8) return out + " ...";
        out += " [" + std::to_string(map[i].first) + "," + std::to_string(map[i].second) + ")";
    }
    return out.empty() ? " none" : out;
}

bool read_full(int fd, std::vector<char>& buffer, off_t offset, std::size_t& got) {
    got = 0;
    while (got < buffer.size()) {
        const auto n = ::pread(fd, buffer.data() + got, buffer.size() - got, offset + static_cast<off_t>(got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        if (n == 0) break;
        got += static_cast<std::size_t>(n);
    }
    return true;
}

class Comparer {
  public:
    explicit Comparer(const CompareOptions& options) : options_(options) {}

    std::vector<std::string> run(const std::string& left, const std::string& right) {
        const Fd l(::open(left.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        const Fd r(::open(right.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!l || !r) {
            say("", std::string("cannot open a root: ") + std::strerror(errno));
            return out_;
        }
        struct stat ls {
        }, rs{};
        if (::fstat(l.get(), &ls) != 0 || ::fstat(r.get(), &rs) != 0) {
            say("", "cannot stat a root");
            return out_;
        }
        metadata("", ls, rs);
        xattrs("", l.get(), r.get());
        directory("", l.get(), r.get());
        return out_;
    }

  private:
    bool full() const { return out_.size() >= options_.limit; }
    void say(const std::string& path, const std::string& what) {
        if (!full()) out_.push_back((path.empty() ? "(root)" : shown(path)) + ": " + what);
    }
    void differ(const std::string& path, const std::string& what, const std::string& l, const std::string& r) {
        say(path, what + " " + l + " != " + r);
    }

    void directory(const std::string& path, int l, int r) {
        auto left = names_of(l);
        auto right = names_of(r);
        if (!left || !right) return say(path, "cannot be listed");
        if (path.empty() && options_.skip_state) {
            std::erase(*left, ".tdfs");
            std::erase(*right, ".tdfs");
        }
        auto i = left->begin();
        auto j = right->begin();
        while ((i != left->end() || j != right->end()) && !full()) {
            if (j == right->end() || (i != left->end() && *i < *j)) {
                say(below(path, *i++), "only on the left");
            } else if (i == left->end() || *j < *i) {
                say(below(path, *j++), "only on the right");
            } else {
                object(below(path, *i), l, r, *i);
                ++i;
                ++j;
            }
        }
    }

    static std::string below(const std::string& path, const std::string& name) {
        return path.empty() ? name : path + "/" + name;
    }

    void object(const std::string& path, int l, int r, const std::string& name) {
        struct stat ls {
        }, rs{};
        if (::fstatat(l, name.c_str(), &ls, AT_SYMLINK_NOFOLLOW) != 0 ||
            ::fstatat(r, name.c_str(), &rs, AT_SYMLINK_NOFOLLOW) != 0) {
            return say(path, "cannot be looked at");
        }
        if ((ls.st_mode & S_IFMT) != (rs.st_mode & S_IFMT)) {
            return differ(path, "type", octal(ls.st_mode), octal(rs.st_mode));
        }
        metadata(path, ls, rs);
        const Fd lp(::openat(l, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        const Fd rp(::openat(r, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        if (!lp || !rp) return say(path, "cannot be opened");
        xattrs(path, lp.get(), rp.get());
        switch (ls.st_mode & S_IFMT) {
            case S_IFDIR: {
                const Fd ld(::openat(l, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
                const Fd rd(::openat(r, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
                if (!ld || !rd) return say(path, "cannot be opened as a directory");
                return directory(path, ld.get(), rd.get());
            }
            case S_IFLNK: {
                const auto lt = target_of(l, name);
                const auto rt = target_of(r, name);
                if (!lt || !rt) return say(path, "target cannot be read");
                if (*lt != *rt) differ(path, "target", shown(*lt), shown(*rt));
                break;
            }
            case S_IFREG: {
                const bool seen = seen_left_.count(key(ls)) != 0;
                links(path, ls, rs);
                if (!seen) content(path, l, r, name, ls, rs);
                return;
            }
            case S_IFCHR:
            case S_IFBLK:
                if (ls.st_rdev != rs.st_rdev) differ(path, "device", device(ls), device(rs));
                break;
            default:
                break;
        }
        links(path, ls, rs);
    }

    static std::string device(const struct stat& s) {
        return std::to_string(::major(s.st_rdev)) + ":" + std::to_string(::minor(s.st_rdev));
    }

    void metadata(const std::string& path, const struct stat& l, const struct stat& r) {
        if (l.st_mode != r.st_mode) differ(path, "mode", octal(l.st_mode), octal(r.st_mode));
        if (options_.owners && l.st_uid != r.st_uid) {
            differ(path, "uid", std::to_string(l.st_uid), std::to_string(r.st_uid));
        }
        if (options_.owners && l.st_gid != r.st_gid) {
            differ(path, "gid", std::to_string(l.st_gid), std::to_string(r.st_gid));
        }
        if (options_.times && time_text(l) != time_text(r)) differ(path, "mtime", time_text(l), time_text(r));
    }
    static std::string time_text(const struct stat& s) {
        std::array<char, 48> text{};
        std::snprintf(text.data(), text.size(), "%lld.%09ld", static_cast<long long>(s.st_mtim.tv_sec),
                      s.st_mtim.tv_nsec);
        return text.data();
    }

    void xattrs(const std::string& path, int l, int r) {
        const auto left = xattrs_of(l);
        const auto right = xattrs_of(r);
        if (!left || !right) return say(path, "extended attributes cannot be read");
        for (const auto& [name, value] : *left) {
            const auto other = right->find(name);
            if (other == right->end()) {
                say(path, "attribute " + shown(name) + " only on the left");
            } else if (other->second != value) {
                differ(path, "attribute " + shown(name), shown(value.substr(0, 64)),
                       shown(other->second.substr(0, 64)));
            }
        }
        for (const auto& [name, value] : *right) {
            if (left->count(name) == 0) say(path, "attribute " + shown(name) + " only on the right");
        }
    }

    // Names of one object on one side must be names of one object on the other.
    using Key = std::pair<dev_t, ino_t>;
    static Key key(const struct stat& s) { return {s.st_dev, s.st_ino}; }
    void links(const std::string& path, const struct stat& l, const struct stat& r) {
        const auto [a, new_left] = seen_left_.try_emplace(key(l), key(r), path);
        const auto [b, new_right] = seen_right_.try_emplace(key(r), key(l), path);
        if (!new_left && a->second.first != key(r)) {
            say(path, "hard link of " + shown(a->second.second) + " on the left only");
        }
        if (!new_right && b->second.first != key(l)) {
            say(path, "hard link of " + shown(b->second.second) + " on the right only");
        }
    }

    void content(const std::string& path, int l, int r, const std::string& name, const struct stat& ls,
                 const struct stat& rs) {
        if (ls.st_size != rs.st_size) {
            return differ(path, "size", std::to_string(ls.st_size), std::to_string(rs.st_size));
        }
        const Fd lf(::openat(l, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
        const Fd rf(::openat(r, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
        if (!lf || !rf) return say(path, "content cannot be opened");
        const auto left_map = data_map(lf.get(), ls.st_size);
        const auto right_map = data_map(rf.get(), rs.st_size);
        if (!left_map || !right_map) return say(path, "holes cannot be found");
        if (options_.holes && *left_map != *right_map) {
            const auto left_space = allocation(lf.get(), ls.st_size);
            const auto right_space = allocation(rf.get(), rs.st_size);
            if (left_space && right_space) {
                if (!is_covered(left_space->written, right_space->all) ||
                    !is_covered(right_space->written, left_space->all)) {
                    differ(path, "data at (4 KiB blocks)", map_text(left_space->written),
                           map_text(right_space->written));
                }
            } else {  // a file system that does not tell (tmpfs)
                differ(path, "data at (4 KiB blocks)", map_text(*left_map), map_text(*right_map));
            }
        }
        // Reads only where either side has data, so that vast sparse files are no matter.
        auto map = *left_map;
        map.insert(map.end(), right_map->begin(), right_map->end());
        std::sort(map.begin(), map.end());
        std::vector<char> a(256 * 1024), b(256 * 1024);
        off_t at = 0;
        for (const auto& [begin, end] : map) {
            at = std::max(at, begin * 4096);
            while (at < std::min<off_t>(end * 4096, ls.st_size)) {
                std::size_t got_a = 0, got_b = 0;
                if (!read_full(lf.get(), a, at, got_a) || !read_full(rf.get(), b, at, got_b)) {
                    return say(path, "content cannot be read");
                }
                const auto n = std::min(got_a, got_b);
                if (got_a != got_b || std::memcmp(a.data(), b.data(), n) != 0) {
                    const auto to = a.begin() + static_cast<std::ptrdiff_t>(n);
                    const auto equal = std::mismatch(a.begin(), to, b.begin()).first - a.begin();
                    return say(path, "content differs at byte " + std::to_string(at + equal));
                }
                if (n == 0) break;
                at += static_cast<off_t>(n);
            }
        }
    }

    const CompareOptions options_;
    std::vector<std::string> out_;
    std::map<Key, std::pair<Key, std::string>> seen_left_, seen_right_;
};

}  // namespace

std::vector<std::string> compare_trees(const std::string& left, const std::string& right,
                                       const CompareOptions& options) {
    return Comparer(options).run(left, right);
}

std::string tree_differences(const std::string& left, const std::string& right, const CompareOptions& options) {
    std::string out;
    for (const auto& line : compare_trees(left, right, options)) out += line + "\n";
    return out;
}

}  // namespace tdfs::test

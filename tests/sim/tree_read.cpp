// Reads a directory tree with plain system calls, as few as it takes.
#include "tests/sim/tree_read.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <unordered_map>
#include <vector>

#include "proto/path.hpp"
#include "tests/sim/world.hpp"

namespace tdfs::sim {

namespace {

void read_xattrs(const std::string& path, Follow follow, Object& object) {
    std::array<char, 4096> names;
    const auto length = follow == Follow::kYes ? ::listxattr(path.c_str(), names.data(), names.size())
                                               : ::llistxattr(path.c_str(), names.data(), names.size());
    for (ssize_t at = 0; at < length;) {
        const std::string name(names.data() + at);
        at += static_cast<ssize_t>(name.size()) + 1;
        Bytes value(4096);
        const auto got = follow == Follow::kYes ? ::getxattr(path.c_str(), name.c_str(), value.data(), value.size())
                                                : ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
        if (got < 0) continue;
        value.resize(static_cast<std::size_t>(got));
        object.xattrs[name] = std::move(value);
    }
}

struct Reader {
    const std::string root;
    const bool with_state;
    std::map<std::string, std::shared_ptr<Object>>& objects;
    std::unordered_map<std::uint64_t, std::shared_ptr<Object>> linked;

    void read(const std::string& at) {
        const std::string path = at.empty() ? root : root + "/" + at;
        alignas(dirent64) std::array<char, 16 * 1024> buffer;
        const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        TDFS_INVARIANT(fd >= 0, "a directory can be opened");
        std::vector<std::string> below;
        for (ssize_t bytes; (bytes = ::getdents64(fd, buffer.data(), buffer.size())) > 0;) {
            for (ssize_t i = 0; i < bytes;) {
                const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + i);
                i += entry->d_reclen;
                const std::string name = entry->d_name;
                if (name == "." || name == ".." || (at.empty() && name == kStateName && !with_state)) continue;
                if (entry->d_type == DT_SOCK) continue;
                const std::string child = at.empty() ? name : at + "/" + name;
                auto& known = linked[entry->d_ino];
                if (!known) known = read_object(root + "/" + child, Follow::kNo);
                objects[child] = known;
                if (entry->d_type == DT_DIR) below.push_back(child);
            }
        }
        ::close(fd);
        for (const auto& child : below) read(child);
    }
};

}  // namespace

std::shared_ptr<Object> read_object(const std::string& path, Follow follow) {
    const Quiet quiet;
    struct statx s {};
    TDFS_INVARIANT(
        ::statx(AT_FDCWD, path.c_str(), follow == Follow::kYes ? 0 : AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &s) == 0,
        "what a directory names can be looked at");
    auto object = std::make_shared<Object>();
    object->ino = s.stx_ino;
    object->mode = s.stx_mode;
    object->uid = s.stx_uid;
    object->gid = s.stx_gid;
    object->rdev = makedev(s.stx_rdev_major, s.stx_rdev_minor);
    object->mtime_ns = s.stx_mtime.tv_sec * 1'000'000'000 + s.stx_mtime.tv_nsec;
    if (S_ISREG(s.stx_mode) && s.stx_size > kMaxReadBytes) {
        object->sparse_bytes = s.stx_size;
    } else if (S_ISREG(s.stx_mode) && s.stx_size > 0) {
        const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        object->data.resize(s.stx_size);
        TDFS_INVARIANT(::pread(fd, object->data.data(), object->data.size(), 0) == static_cast<ssize_t>(s.stx_size),
                       "a file can be read");
        ::close(fd);
    } else if (S_ISLNK(s.stx_mode)) {
        object->target.resize(s.stx_size);
        TDFS_INVARIANT(::readlink(path.c_str(), object->target.data(), s.stx_size) == static_cast<ssize_t>(s.stx_size),
                       "a symlink can be read");
    }
    read_xattrs(path, follow, *object);
    return object;
}

Tree Tree::read(const std::string& dir, bool with_state) {
    const Quiet quiet;
    Tree tree;
    tree.objects_[""] = read_object(dir, Follow::kNo);
    Reader{dir, with_state, tree.objects_, {}}.read("");
    return tree;
}

void make_object(const std::string& path, const Object& object) {
    const Quiet quiet;
    const char* const p = path.c_str();
    const auto mode = object.mode & 07777;
    int failed = 0;
    switch (object.mode & S_IFMT) {
        case S_IFDIR:
            failed = ::mkdir(p, mode);
            break;
        case S_IFLNK:
            failed = ::symlink(object.target.c_str(), p);
            break;
        case S_IFREG: {
            const int fd = ::open(p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
            const auto n = static_cast<ssize_t>(object.data.size());
            failed = fd < 0 || ::pwrite(fd, object.data.data(), object.data.size(), 0) != n ||
                     (object.sparse_bytes != 0 && ::ftruncate(fd, static_cast<off_t>(object.sparse_bytes)) != 0);
            ::close(fd);
            break;
        }
        default:
            failed = ::mknod(p, object.mode, object.rdev);
    }
    TDFS_INVARIANT(failed == 0, "an object can be made again");
    TDFS_INVARIANT(::lchown(p, object.uid, object.gid) == 0, "an object gets its owner");
    if (!S_ISLNK(object.mode)) TDFS_INVARIANT(::chmod(p, mode) == 0, "an object gets its mode");
    for (const auto& [name, value] : object.xattrs) {
        TDFS_INVARIANT(::lsetxattr(p, name.c_str(), value.data(), value.size(), 0) == 0, "an object gets its xattrs");
    }
}

void set_times(const std::string& path, const Object& object) {
    const Quiet quiet;
    const timespec time{object.mtime_ns / 1'000'000'000, object.mtime_ns % 1'000'000'000};
    const std::array<timespec, 2> times{time, time};
    TDFS_INVARIANT(::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) == 0,
                   "an object gets its times");
}

void remove_content(const std::string& dir) {
    const Quiet quiet;
    const Tree tree = Tree::read(dir, true);
    for (auto it = tree.objects().rbegin(); it != tree.objects().rend(); ++it) {
        if (it->first.empty()) continue;
        const std::string path = dir + "/" + it->first;
        const bool gone = it->second->is_dir() ? ::rmdir(path.c_str()) == 0 : ::unlink(path.c_str()) == 0;
        TDFS_INVARIANT(gone, "what was found can be removed");
    }
}

}  // namespace tdfs::sim

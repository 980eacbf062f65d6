#include "tests/unit/slave/mini_master.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "common/os/fd.hpp"
#include "proto/record.hpp"
#include "tests/unit/slave/fixture.hpp"

namespace tdfs::test {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMostObjects = 60;  // so that names meet often
constexpr std::uint64_t kNameTurns = 5;   // of one()
constexpr unsigned kExchange = 2;
constexpr int kPunch = 1 | 2, kZero = 16;

struct stat look(const std::string& path) {
    struct stat st {};
    ::lstat(path.c_str(), &st);
    return st;
}

std::int64_t mtime_of(const struct stat& st) { return st.st_mtim.tv_sec * 1'000'000'000LL + st.st_mtim.tv_nsec; }

bool rename2(const std::string& from, const std::string& to, unsigned flags) {
    return ::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0;
}

}  // namespace

template <class R>
void MiniMaster::add(R record, const std::string& path) {
    records_.push_back(encoded(of(look(full(path)).st_ino, record)));
}

const std::vector<std::string>& MiniMaster::paths(Kind kind) {
    auto& [any, dirs, files] = paths_;
    if (names_changed_) {
        names_changed_ = false;
        paths_ = {};
        dirs.emplace_back();
        for (const auto& entry : fs::recursive_directory_iterator(root_)) {
            const auto type = entry.symlink_status().type();
            any.push_back(entry.path().string().substr(root_.size() + 1));
            if (type == fs::file_type::directory) dirs.push_back(any.back());
            if (type == fs::file_type::regular) files.push_back(any.back());
        }
        for (auto& list : paths_) std::sort(list.begin(), list.end());  // the same for the same seed
    }
    return kind == Kind::kAny ? any : kind == Kind::kDir ? dirs : files;
}

std::string MiniMaster::pick(Kind kind) {
    const auto& all = paths(kind);
    return all.empty() ? "" : all[number(all.size())];
}

std::string MiniMaster::new_name() {
    return join(pick(Kind::kDir), std::string(1, static_cast<char>('a' + number(8))));
}

void MiniMaster::storm(std::size_t n) {
    const auto until = records_.size() + n;
    while (records_.size() < until) {
        const auto turn = number(10);
        if (one(turn) && turn < kNameTurns) names_changed_ = true;
    }
}

bool MiniMaster::one(std::uint64_t turn) {
    switch (turn) {
        case 0:
        case 1:
            return make();
        case 2:
            return remove();
        case 3:
        case 4:
            return move();
        case 5:
        case 6:
        case 7:
            return write();
        case 8:
            return attributes();
        default:
            return xattr();
    }
}

bool MiniMaster::make() {
    if (paths(Kind::kAny).size() > kMostObjects) return false;
    const std::string path = new_name();
    if (number(6) == 0) {
        const std::string source = pick(Kind::kFile);
        if (source.empty() || ::link(full(source).c_str(), full(path).c_str()) != 0) return false;
        add(link_of(source, path), path);
        return true;
    }
    const auto name = full(path);
    const std::string target = "to/" + std::to_string(number(1000));
    const auto mode = static_cast<mode_t>(number(2) == 0 ? 0644 : 0750);
    int failed = 0;
    switch (number(5)) {
        case 0:
            failed = ::mkdir(name.c_str(), mode);
            break;
        case 1:
            failed = ::symlink(target.c_str(), name.c_str());
            break;
        case 2:
            failed = ::mkfifo(name.c_str(), mode);
            break;
        default:
            failed = ::mknod(name.c_str(), S_IFREG | mode, 0);
    }
    if (failed != 0) return false;
    if (::lchown(name.c_str(), static_cast<uid_t>(number(3)), static_cast<gid_t>(number(3))) != 0) return false;
    const auto st = look(name);
    CreateRecord r;
    r.path = path;
    r.mode = st.st_mode;
    r.uid = st.st_uid;
    r.gid = st.st_gid;
    r.mtime_ns = mtime_of(st);
    if (S_ISLNK(st.st_mode)) r.target = as_bytes(target);
    add(r, path);
    return true;
}

bool MiniMaster::remove() {
    const std::string path = pick(Kind::kAny);
    if (path.empty()) return false;
    const auto was = look(full(path));
    const bool is_dir = S_ISDIR(was.st_mode);
    if ((is_dir ? ::rmdir(full(path).c_str()) : ::unlink(full(path).c_str())) != 0) return false;
    records_.push_back(is_dir ? encoded(of(was.st_ino, rmdir_of(path))) : encoded(of(was.st_ino, unlink_of(path))));
    return true;
}

bool MiniMaster::move() {
    const std::string from = pick(Kind::kAny);
    if (from.empty()) return false;
    const bool swap = number(3) == 0;
    const std::string to = swap ? pick(Kind::kAny) : new_name();
    const auto moving = look(full(from)).st_ino;
    const auto replaced = look(full(to)).st_ino;
    if (from == to || moving == replaced) return false;  // nothing would happen
    if (!rename2(full(from), full(to), swap ? kExchange : 0)) return false;
    auto r = of(moving, swap ? exchange_of(from, to) : rename_of(from, to));
    r.replaced.ino = replaced;
    records_.push_back(encoded(r));
    return true;
}

bool MiniMaster::write() {
    const std::string path = pick(Kind::kFile);
    if (path.empty()) return false;
    const OwnFd fd(::open(full(path).c_str(), O_WRONLY | O_CLOEXEC));
    const std::uint64_t offset = number(64 * 1024);
    switch (number(5)) {
        case 0: {
            FallocateRecord r;
            r.path = path;
            r.offset = offset;
            r.length = 1 + number(32 * 1024);
            constexpr int kModes[] = {0, 1, kPunch, kZero, kZero | 1};
            r.mode = static_cast<std::uint32_t>(kModes[number(5)]);
            if (::fallocate(fd.get(), static_cast<int>(r.mode), static_cast<off_t>(r.offset),
                            static_cast<off_t>(r.length)) != 0) {
                return false;
            }
            add(r, path);
            return true;
        }
        case 1: {
            const std::string source = pick(Kind::kFile);
            if (look(full(source)).st_ino == look(full(path)).st_ino) return false;
            const OwnFd from(::open(full(source).c_str(), O_RDONLY | O_CLOEXEC));
            auto from_at = static_cast<off_t>(number(16 * 1024));
            auto to_at = static_cast<off_t>(offset);
            CopyRangeRecord r;
            r.from_path = source;
            r.path = path;
            r.from_offset = static_cast<std::uint64_t>(from_at);
            r.offset = offset;
            const auto n = ::copy_file_range(from.get(), &from_at, fd.get(), &to_at, 1 + number(32 * 1024), 0);
            if (n <= 0) return false;
            r.length = static_cast<std::uint64_t>(n);
            add(r, path);
            return true;
        }
        default: {
            const std::string data(1 + number(16 * 1024), static_cast<char>('a' + number(26)));
            if (::pwrite(fd.get(), data.data(), data.size(), static_cast<off_t>(offset)) !=
                static_cast<ssize_t>(data.size())) {
                return false;
            }
            add(write_at(path, data, offset), path);
            return true;
        }
    }
}

bool MiniMaster::attributes() {
    AttributesRecord r;
    if (number(3) == 0) {
        const std::string path = pick(Kind::kFile);
        const auto size = number(48 * 1024);
        if (path.empty() || ::truncate(full(path).c_str(), static_cast<off_t>(size)) != 0) return false;
        r.path = path;
        r.valid = AttributesRecord::kSize;
        r.size = size;
        add(r, path);
        return true;
    }
    const std::string path = pick(Kind::kAny);
    if (path.empty()) return false;
    r.path = path;
    if (number(2) == 0 || S_ISLNK(look(full(path)).st_mode)) {
        if (::lchown(full(path).c_str(), static_cast<uid_t>(number(4)), static_cast<gid_t>(number(4))) != 0)
            return false;
        r.valid = AttributesRecord::kUid | AttributesRecord::kGid | AttributesRecord::kMode;
    } else {
        constexpr mode_t kModes[] = {0600, 0755, 04755, 02775, 01777, 0};
        if (::chmod(full(path).c_str(), kModes[number(6)]) != 0) return false;
        r.valid = AttributesRecord::kMode;
    }
    const auto st = look(full(path));
    r.uid = st.st_uid;
    r.gid = st.st_gid;
    r.mode = st.st_mode & 07777;
    add(r, path);
    return true;
}

bool MiniMaster::xattr() {
    const std::string path = pick(Kind::kFile);
    if (path.empty()) return false;
    const std::string name = "user.x" + std::to_string(number(3));
    if (number(3) == 0) {
        if (::removexattr(full(path).c_str(), name.c_str()) != 0) return false;
        RemoveXattrRecord r;
        r.path = path;
        r.name = name;
        add(r, path);
        return true;
    }
    const std::string value(number(100), 'v');
    if (::setxattr(full(path).c_str(), name.c_str(), value.data(), value.size(), 0) != 0) return false;
    SetXattrRecord r;
    r.path = path;
    r.name = name;
    r.value = as_bytes(value);
    r.mode = look(full(path)).st_mode & 07777;
    add(r, path);
    return true;
}

void MiniMaster::settle() {
    for (const auto& path : paths(Kind::kAny)) add(settled(path, mtime_of(look(full(path)))), path);
    add(settled("", mtime_of(look(root_))), "");
}

}  // namespace tdfs::test

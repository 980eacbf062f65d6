#include "tests/unit/resync/mutator.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "common/os/file.hpp"
#include "proto/path.hpp"

namespace tdfs::test {

namespace {
constexpr std::size_t kMostNames = 60;
}

void Mutator::step() {
    switch (names_.size() < 8 ? 0 : below(18)) {
        case 0:
        case 1:
        case 2:
            create();
            break;
        case 3:
            create_elsewhere();
            break;
        case 4:
        case 5:
            remove();
            break;
        case 6:
        case 7:
            rename();
            break;
        case 8:
            exchange();
            break;
        case 9:
            link();
            break;
        case 10:
        case 11:
            write();
            break;
        case 12:
            write_secretly();
            break;
        case 13:
            resize();
            break;
        case 14:
            punch();
            break;
        case 15:
            attributes();
            break;
        case 16:
            times();
            break;
        default:
            xattr();
            break;
    }
    if (chance(60)) flush();
}

void Mutator::flush() {
    for (; !late_.empty(); late_.pop_front()) {
        const auto r = decode_record(late_.front());
        REQUIRE(r);
        master_.journal.add(*r);
    }
}

void Mutator::record(const Record& r) {
    late_.emplace_back();
    encode_record(r, late_.back());
}

ObjectId Mutator::id(const std::string& path) const {
    const auto fd = open_at(AT_FDCWD, full(path), O_PATH);
    REQUIRE(fd);
    const auto info = stat_fd(fd->get());
    REQUIRE(info);
    return info->object;
}

std::string Mutator::any(std::uint32_t type) {
    std::vector<const std::string*> found;
    for (const auto& [path, mode] : names_) {
        if ((mode & S_IFMT) == type) found.push_back(&path);
    }
    return found.empty() ? std::string() : *found[below(found.size())];
}

std::string Mutator::any_object() {
    if (names_.empty()) return {};
    return std::next(names_.begin(), static_cast<std::ptrdiff_t>(below(names_.size())))->first;
}

// Few different names, so that they are used again for other objects.
std::string Mutator::fresh() {
    for (int i = 0; i < 20; ++i) {
        const auto dir = chance(40) ? std::string() : any(S_IFDIR);
        const auto path = join(dir, std::string(1, static_cast<char>('a' + below(12))));
        if (path.size() < 30 && names_.count(path) == 0) return path;
    }
    return join("", "n" + std::to_string(++count_));
}

Bytes Mutator::content(std::size_t n) {
    Bytes out(n);
    for (auto& b : out) b = static_cast<std::byte>(random_());
    return out;
}

void Mutator::create() {
    if (names_.size() > kMostNames) return remove();
    const auto path = fresh();
    const auto p = full(path);
    CreateRecord r;
    Bytes target;
    const auto kind = below(12);
    if (kind < 3) {
        REQUIRE(::mkdir(p.c_str(), 0700 + static_cast<mode_t>(below(64))) == 0);
    } else if (kind == 3) {
        const std::string text = "to-" + std::to_string(below(3));
        REQUIRE(::symlink(text.c_str(), p.c_str()) == 0);
        target.assign(as_bytes(text).begin(), as_bytes(text).end());
    } else if (kind == 4) {
        REQUIRE(::mkfifo(p.c_str(), 0640) == 0);
    } else {
        const int fd =
            ::open(p.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600 + static_cast<mode_t>(below(64)));
        REQUIRE(fd >= 0);
        ::close(fd);
    }
    struct stat s {};
    REQUIRE(::lstat(p.c_str(), &s) == 0);
    names_[path] = s.st_mode;
    r.object = id(path);
    r.path = path;
    r.mode = s.st_mode;
    r.target = target;
    record(r);
}

// Built without a name and then linked or renamed into place, also over another file.
void Mutator::create_elsewhere() {
    const auto path = chance(50) && !any(S_IFREG).empty() ? any(S_IFREG) : fresh();
    const TempDir elsewhere;
    const auto file = (elsewhere.path() / "x").string();
    const int fd = ::open(file.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    REQUIRE(fd >= 0);
    const auto bytes = content(below(300'000));
    REQUIRE(write_all(fd, bytes, 0));
    ::close(fd);
    REQUIRE(::rename(file.c_str(), full(path).c_str()) == 0);
    names_[path] = S_IFREG | 0644;
    const std::string staged = std::string(kStagePath) + "/" + std::to_string(++count_);
    CreateRecord made;
    made.object = id(path);
    made.path = staged;
    made.mode = S_IFREG | 0644;
    record(made);
    record(WriteRecord{made.object, staged, 0, bytes});
    record(RenameRecord{made.object, {}, staged, path, false});
}

void Mutator::remove() {
    const auto path = any_object();
    if (path.empty()) return;
    const auto object = id(path);
    if (S_ISDIR(names_[path])) {
        if (::rmdir(full(path).c_str()) != 0) return;
        record(RmdirRecord{object, path});
    } else {
        REQUIRE(::unlink(full(path).c_str()) == 0);
        record(UnlinkRecord{object, path});
    }
    names_.erase(path);
}

void Mutator::move_names(const std::string& from, const std::string& to, Names& names) {
    for (auto at = names_.begin(); at != names_.end();) {
        if (is_within(at->first, from)) {
            names[to + at->first.substr(from.size())] = at->second;
            at = names_.erase(at);
        } else {
            ++at;
        }
    }
}

void Mutator::rename() {
    const auto from = any_object();
    if (from.empty()) return;
    const bool onto = chance(40);
    const auto to = onto ? any_object() : fresh();
    if (is_within(to, from) || is_within(from, to)) return;
    const auto object = id(from);
    const auto replaced = onto ? id(to) : ObjectId{};
    if (object == replaced) return;  // two names of one object: the call does nothing
    if (::rename(full(from).c_str(), full(to).c_str()) != 0) return;
    names_.erase(to);
    Names moved;
    move_names(from, to, moved);
    names_.merge(moved);
    record(RenameRecord{object, replaced, from, to, false});
}

void Mutator::exchange() {
    const auto one = any_object();
    const auto other = any_object();
    if (one.empty() || is_within(one, other) || is_within(other, one)) return;
    const auto object = id(one);
    const auto replaced = id(other);
    if (::renameat2(AT_FDCWD, full(one).c_str(), AT_FDCWD, full(other).c_str(), RENAME_EXCHANGE) != 0) return;
    Names moved;
    move_names(one, other, moved);
    move_names(other, one, moved);
    names_.merge(moved);
    record(RenameRecord{object, replaced, one, other, true});
}

void Mutator::link() {
    const auto path = any_object();
    if (path.empty() || S_ISDIR(names_[path])) return;
    const auto to = fresh();
    REQUIRE(::link(full(path).c_str(), full(to).c_str()) == 0);
    names_[to] = names_[path];
    record(LinkRecord{id(path), path, to});
}

void Mutator::write() {
    const auto path = any(S_IFREG);
    if (path.empty()) return;
    const auto bytes = content(1 + below(chance(20) ? 400'000 : 5'000));
    const auto offset = below(chance(20) ? 1'500'000 : 10'000);
    const auto fd = open_at(AT_FDCWD, full(path), O_WRONLY);
    REQUIRE(fd);
    REQUIRE(write_all(fd->get(), bytes, offset));
    record(WriteRecord{id(path), path, offset, bytes});
}

// Same size, same time, other content.
void Mutator::write_secretly() {
    const auto path = any(S_IFREG);
    if (path.empty()) return;
    struct stat s {};
    REQUIRE(::stat(full(path).c_str(), &s) == 0);
    if (s.st_size == 0) return;
    const auto offset = below(static_cast<std::uint64_t>(s.st_size));
    const auto bytes = content(std::min<std::size_t>(100, static_cast<std::size_t>(s.st_size) - offset));
    const auto fd = open_at(AT_FDCWD, full(path), O_WRONLY);
    REQUIRE(fd);
    REQUIRE(write_all(fd->get(), bytes, offset));
    const std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, s.st_mtim};
    REQUIRE(::futimens(fd->get(), times.data()) == 0);
    record(WriteRecord{id(path), path, offset, bytes});
    AttributesRecord r;
    r.object = id(path);
    r.path = path;
    r.valid = AttributesRecord::kMtime;
    record(r);
}

void Mutator::resize() {
    const auto path = any(S_IFREG);
    if (path.empty()) return;
    AttributesRecord r;
    r.object = id(path);
    r.path = path;
    r.valid = AttributesRecord::kSize;
    r.size = below(chance(30) ? 3'000'000 : 20'000);
    REQUIRE(::truncate(full(path).c_str(), static_cast<off_t>(r.size)) == 0);
    record(r);
}

void Mutator::punch() {
    const auto path = any(S_IFREG);
    if (path.empty()) return;
    FallocateRecord r;
    r.object = id(path);
    r.path = path;
    r.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    r.offset = below(200) * 4096;
    r.length = (1 + below(40)) * 4096;
    const auto fd = open_at(AT_FDCWD, full(path), O_WRONLY);
    REQUIRE(fd);
    REQUIRE(::fallocate(fd->get(), static_cast<int>(r.mode), static_cast<off_t>(r.offset),
                        static_cast<off_t>(r.length)) == 0);
    record(r);
}

void Mutator::attributes() {
    const auto path = chance(10) ? std::string() : any_object();
    if (!path.empty() && S_ISLNK(names_[path])) return;
    AttributesRecord r;
    r.object = id(path);
    r.path = path;
    if (chance(50) && ::geteuid() == 0) {
        r.valid = AttributesRecord::kUid | AttributesRecord::kGid;
        REQUIRE(::lchown(full(path).c_str(), static_cast<uid_t>(below(3)), static_cast<gid_t>(below(3))) == 0);
    } else {
        r.valid = AttributesRecord::kMode;
        const bool directory = path.empty() || S_ISDIR(names_[path]);
        REQUIRE(::chmod(full(path).c_str(), static_cast<mode_t>(directory ? 0700 + below(64) : below(07777))) == 0);
    }
    record(r);
}

void Mutator::times() {
    const auto path = any_object();
    const std::array<timespec, 2> times{timespec{0, UTIME_OMIT},
                                        timespec{static_cast<time_t>(below(5)), static_cast<long>(below(3))}};
    REQUIRE(::utimensat(AT_FDCWD, full(path).c_str(), times.data(), AT_SYMLINK_NOFOLLOW) == 0);
    AttributesRecord r;
    r.object = id(path);
    r.path = path;
    r.valid = AttributesRecord::kMtime;
    record(r);
}

void Mutator::xattr() {
    const auto path = chance(50) ? any(S_IFREG) : any(S_IFDIR);
    const std::string name = "user." + std::string(1, static_cast<char>('a' + below(3)));
    if (chance(60)) {
        const auto value = content(below(50));
        if (::setxattr(full(path).c_str(), name.c_str(), value.data(), value.size(), 0) != 0) return;
        record(SetXattrRecord{id(path), path, name, value, 0xffffffff});
    } else {
        if (::removexattr(full(path).c_str(), name.c_str()) != 0) return;
        record(RemoveXattrRecord{id(path), path, name});
    }
}

}  // namespace tdfs::test

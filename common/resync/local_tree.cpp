#include "common/resync/local_tree.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/resync/attributes.hpp"

namespace tdfs {
namespace {

constexpr std::uint64_t kMostCounted = 100'000'000;  // objects of one removal
constexpr std::size_t kMaxDirectories = 100'000;     // remembered; then their times are set early, and again later

bool means_missing(Errno e) { return e.value() == ENOENT || e.value() == ENOTDIR || e.value() == ELOOP; }

const char* advice(Errno e) {
    switch (e.value()) {
        case ENOSPC:
        case EDQUOT:
            return " (make room on the replica; the resync is tried again)";
        case EROFS:
            return " (the replica's file system is read-only)";
        case EPERM:
        case EACCES:
            return " (tdfs_slave must run as root to give files their owners)";
        case EOPNOTSUPP:
            return " (the replica's file system lacks what the master's has)";
        default:
            return "";
    }
}

}  // namespace

Unexpected<std::string> cannot(const char* what, std::string_view path, Errno e) {
    return Unexpected<std::string>("cannot " + std::string(what) + " " +
                                   (path.empty() ? "the replica's root directory" : printable(path)) + ": " + e.text() +
                                   advice(e));
}

Done LocalTree::prepare() {
    std::string path;
    int dir = root_;
    OwnFd opened;
    for (const auto name : {kStateName, leaf_of(kStagePath)}) {
        path = join(path, name);
        if (!stat_at(dir, std::string(name))) {
            if (dir == root_) {
                if (auto done = changing(dir, ""); !done) return done;
            }
            if (::mkdirat(dir, std::string(name).c_str(), 0700) != 0) return cannot("make", path, Errno::last());
        }
        auto next = open_at(dir, std::string(name), O_RDONLY | O_DIRECTORY);
        if (!next) return cannot("open", path, next.error());
        opened = std::move(*next);
        dir = opened.get();
    }
    stage_ = std::move(opened);
    const auto names = read_dir(stage_.get());
    if (!names) return cannot("read", path, names.error());
    for (const auto& n : *names) {
        if (shared_ && n.name.rfind(prefix(), 0) != 0) continue;
        if (auto done = remove_tree_at(stage_.get(), n.name); !done) return cannot("empty", path, done.error());
    }
    return {};
}

Result<std::optional<Spot>, std::string> LocalTree::spot(const std::string& path) {
    if (path.empty()) return std::optional<Spot>(Spot{root_, path, {}});
    const auto parent = parent_of(path);
    if (!parent_ || parent != parent_path_) {
        auto opened = open_parent_beneath(root_, path);
        if (!opened && means_missing(opened.error())) return std::optional<Spot>();
        if (!opened) return cannot("open the directory of", path, opened.error());
        parent_ = std::move(*opened);
        parent_path_ = parent;
    }
    return std::optional<Spot>(Spot{parent_.get(), path, std::string(leaf_of(path))});
}

// The time is as it should be, or will be told later.
Done LocalTree::changing(int dir, std::string_view path) {
    if (directories_.find(path) != directories_.end()) return {};
    if (directories_.size() >= kMaxDirectories) {
        if (auto done = finish_directories(false); !done) return done;
    }
    const auto info = stat_fd(dir);
    if (!info) return cannot("look at", path, info.error());
    directories_.emplace(std::string(path), Pending{info->mtime_ns, std::nullopt});
    return {};
}

Done LocalTree::keep(int dir, const std::string& name, const std::string& path, const char* why) {
    if (keeping_.salvage == nullptr) return {};
    return keeping_.salvage->keep_object(dir, name, path, keeping_.whose,
                                         (std::string(keeping_.who) + "  " + why).c_str());
}

Done LocalTree::note_metadata(int fd, const std::string& path, const FileInfo& is, const Entry& e) {
    if (!keeping_.wants(is)) return {};
    const bool owner = is.uid != e.uid || is.gid != e.gid;
    const bool mode = !is.is_symlink() && (is.mode & 07777) != (e.mode & 07777);
    const bool time = !is.is_dir() && is.mtime_ns != e.mtime_ns;  // a directory's says that names came or went
    const auto hash = xattr_hash_of(fd);
    if (!hash) return cannot("read the extended attributes of", path, hash.error());
    std::string what = keeping_.who;
    if (owner) what += "  owner";
    if (mode) what += "  mode";
    if (time) what += "  mtime";
    if (*hash != e.xattr_hash) what += "  xattr";
    if (what == keeping_.who) return {};
    return keeping_.salvage->note_metadata(path, is, what.c_str());
}

Done LocalTree::remove(const Spot& at) {
    if (may_remove_) {
        auto why_not = may_remove_(at.path, count_objects(root_, at.path, kMostCounted));
        if (!why_not.empty()) return Unexpected<std::string>(std::move(why_not));
    }
    if (auto done = changing(at.dir, parent_of(at.path)); !done) return done;
    if (is_within(parent_path_, at.path)) parent_.reset();
    if (auto done = keep(at.dir, at.name, at.path, "removed"); !done) return done;
    if (auto done = remove_tree_at(at.dir, at.name); !done) return cannot("remove", at.path, done.error());
    const std::string beneath = at.path + '/';
    directories_.erase(at.path);
    auto inner = directories_.lower_bound(beneath);
    while (inner != directories_.end() && is_within(inner->first, at.path)) inner = directories_.erase(inner);
    return {};
}

Result<std::uint32_t, std::string> LocalTree::make_directory(const Spot& at, std::uint32_t mode) {
    if (auto done = changing(at.dir, parent_of(at.path)); !done) return Unexpected<std::string>(done.error());
    if (::mkdirat(at.dir, at.name.c_str(), 0700) != 0) return cannot("make", at.path, Errno::last());
    const auto made = stat_at(at.dir, at.name);
    if (!made) return cannot("look at", at.path, made.error());
    Pending pending{made->mtime_ns, std::nullopt};
    const bool later = ::geteuid() != 0 && (mode & S_IRWXU) != S_IRWXU;
    if (later) pending.mode = mode & 07777;
    directories_.insert_or_assign(at.path, pending);
    return later ? mode | S_IRWXU : mode;
}

Done LocalTree::make_other(const Spot& at, const Entry& e) {
    const auto name = stage_name();
    const int made = S_ISLNK(e.mode) ? ::symlinkat(e.target.c_str(), stage_.get(), name.c_str())
                                     : ::mknodat(stage_.get(), name.c_str(), e.mode, e.rdev);
    if (made != 0) return cannot("make", at.path, Errno::last());
    const auto fd = open_at(stage_.get(), name, O_PATH);
    if (!fd) return cannot("open", at.path, fd.error());
    const auto info = stat_fd(fd->get());
    if (!info) return cannot("look at", at.path, info.error());
    if (auto done = set_owner_and_mode(fd->get(), *info, e); !done)
        return cannot("give an owner to", at.path, done.error());
    if (auto done = set_mtime_fd(fd->get(), e.mtime_ns); !done) return cannot("set the time of", at.path, done.error());
    if (auto done = changing(at.dir, parent_of(at.path)); !done) return done;
    if (auto done = keep(at.dir, at.name, at.path, "replaced"); !done) return done;
    if (::renameat(stage_.get(), name.c_str(), at.dir, at.name.c_str()) != 0) {
        return cannot("put into its place", at.path, Errno::last());
    }
    return {};
}

Done LocalTree::link(const Spot& from, const Spot& to, bool occupied) {
    if (auto done = changing(to.dir, parent_of(to.path)); !done) return done;
    if (!occupied) {
        if (::linkat(from.dir, from.name.c_str(), to.dir, to.name.c_str(), 0) == 0) return {};
        return cannot("link", to.path, Errno::last());
    }
    const auto name = stage_name();
    if (::linkat(from.dir, from.name.c_str(), stage_.get(), name.c_str(), 0) != 0) {
        return cannot("link", to.path, Errno::last());
    }
    if (auto done = keep(to.dir, to.name, to.path, "replaced"); !done) return done;
    if (::renameat(stage_.get(), name.c_str(), to.dir, to.name.c_str()) != 0) {
        return cannot("put into its place", to.path, Errno::last());
    }
    return {};
}

Result<LocalTree::Staged, std::string> LocalTree::stage_file() {
    Staged staged;
    staged.name = stage_name();
    auto fd = open_at(stage_.get(), staged.name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (!fd) return cannot("make a file in", kStagePath, fd.error());
    staged.fd = std::move(*fd);
    return staged;
}

Result<bool, std::string> LocalTree::publish(const std::string& staged, const std::string& path) {
    const auto at = spot(path);
    if (!at) return Unexpected<std::string>(at.error());
    if (*at) {
        if (auto done = changing((*at)->dir, parent_of(path)); !done) return Unexpected<std::string>(done.error());
        const auto there = stat_at((*at)->dir, (*at)->name);
        if (!there && is_trouble(there.error())) return cannot("look at", path, there.error());
        if (there && !there->is_dir()) {  // a directory is not replaced
            if (auto done = keep((*at)->dir, (*at)->name, path, "replaced"); !done) {
                return Unexpected<std::string>(done.error());
            }
        }
        if (::renameat(stage_.get(), staged.c_str(), (*at)->dir, (*at)->name.c_str()) == 0) return true;
        const auto e = Errno::last();
        if (!means_missing(e) && e.value() != EISDIR) return cannot("put into its place", path, e);
    }
    discard(staged);
    return false;
}

// What cannot be removed now is removed when the next resync begins.
void LocalTree::discard(const std::string& staged) { static_cast<void>(::unlinkat(stage_.get(), staged.c_str(), 0)); }

Done LocalTree::directory_time(int dir, const std::string& path, std::int64_t is_ns, std::int64_t should_be_ns) {
    const auto at = directories_.find(path);
    if (at != directories_.end()) {
        at->second.mtime_ns = should_be_ns;
    } else if (is_ns != should_be_ns) {
        if (auto done = set_mtime_fd(dir, should_be_ns); !done) return cannot("set the time of", path, done.error());
    }
    return {};
}

Done LocalTree::finish_directories(bool all) {
    for (auto at = directories_.begin(); at != directories_.end();) {
        const auto& [path, pending] = *at;
        if (!all && pending.mode) {
            ++at;
            continue;
        }
        const auto dir = open_beneath(root_, path, O_PATH | O_DIRECTORY);
        if (!dir && !means_missing(dir.error())) return cannot("open", path, dir.error());
        if (dir && pending.mode) {
            if (auto done = change_mode(dir->get(), *pending.mode); !done) {
                return cannot("change the mode of", path, done.error());
            }
        }
        if (dir) {
            if (auto done = set_mtime_fd(dir->get(), pending.mtime_ns); !done) {
                return cannot("set the time of", path, done.error());
            }
        }
        at = directories_.erase(at);
    }
    return {};
}

Done LocalTree::sync() {
    if (::syncfs(stage_.get()) != 0) return cannot("write back", "", Errno::last());
    return {};
}

}  // namespace tdfs

#include "common/resync/matcher.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "common/os/xattr_at.hpp"
#include "common/resync/attributes.hpp"

namespace tdfs {
namespace {

using Content = MatchDepth::Content;

bool is_all(const MatchDepth& depth) { return depth.content == Content::kQuick || depth.content == Content::kAll; }

}  // namespace

Done Matcher::remove(const Spot& at) {
    links_.drop_within(at.path);
    const auto info = stat_at(at.dir, at.name);
    if (!info && info.error().value() == ENOENT) return {};
    if (!info) return cannot("look at", at.path, info.error());
    ++removed_;
    return tree_.remove(at);
}

Done Matcher::match(const Spot& at, Entry e, const MatchDepth& depth) {
    auto found = look(at, e);
    if (!found) return Unexpected(found.error());
    if (S_ISDIR(e.mode)) return match_directory(at, std::move(e), depth, found->usable);
    return match_other(at, std::move(e), depth, *found);
}

Done Matcher::match_root(const Entry& e, const MatchDepth& depth) {
    if (!S_ISDIR(e.mode)) return Unexpected<std::string>("the master's root is no directory");
    const auto info = stat_fd(tree_.root());
    if (!info) return cannot("look at", "", info.error());
    return match_directory(Spot{tree_.root(), {}, {}}, e, depth, *info);
}

Result<Matcher::Found, std::string> Matcher::look(const Spot& at, const Entry& e) {
    Found found;
    auto info = stat_at(at.dir, at.name);
    if (!info && info.error().value() == ENOENT) return found;
    if (!info) return cannot("look at", at.path, info.error());
    bool equal = (info->mode & S_IFMT) == (e.mode & S_IFMT);
    if (equal && info->is_symlink()) {
        const auto target = read_link_at(at.dir, at.name);
        if (!target) return cannot("read", at.path, target.error());
        equal = *target == e.target;
    }
    if (equal && (S_ISCHR(e.mode) || S_ISBLK(e.mode))) equal = info->rdev == e.rdev;
    found.occupied = !info->is_dir();
    if (equal) {
        found.usable = *info;
        return found;
    }
    // What is no directory is replaced in one step once the new object is complete.
    if (info->is_dir() || S_ISDIR(e.mode)) {
        if (auto done = remove(at); !done) return Unexpected(done.error());
        found.occupied = false;
    } else {
        links_.drop_name(at.path);
    }
    return found;
}

Result<bool, std::string> Matcher::attributes(int fd, const std::string& path, const Entry& e, const FileInfo& local) {
    if (auto done = tree_.note_metadata(fd, path, local, e); !done) return Unexpected(done.error());
    const auto changed = set_owner_and_mode(fd, local, e);
    if (!changed) return cannot("give an owner to", path, changed.error());
    const auto hash = xattr_hash_of(fd);
    if (!hash) return cannot("read the extended attributes of", path, hash.error());
    if (*hash == e.xattr_hash) return *changed;
    Transfer t;
    t.kind = Transfer::Kind::kXattrs;
    t.path = path;
    t.entry = e;
    t.ino = local.object.ino;
    agenda_.add(std::move(t));
    return true;
}

Done Matcher::match_directory(const Spot& at, Entry e, const MatchDepth& depth, const Local& local) {
    const bool made = !local;
    if (made) {
        const auto mode = tree_.make_directory(at, e.mode);
        if (!mode) return Unexpected(mode.error());
        e.mode = *mode;
    }
    const auto fd = open_at(at.dir, at.name, O_PATH | O_DIRECTORY);
    if (!fd) return cannot("open", at.path, fd.error());
    const auto is = made ? stat_fd(fd->get()) : SysResult<FileInfo>(*local);
    if (!is) return cannot("look at", at.path, is.error());
    auto changed = attributes(fd->get(), at.path, e, *is);
    if (!changed) return Unexpected(changed.error());
    if (auto done = tree_.directory_time(fd->get(), at.path, is->mtime_ns, e.mtime_ns); !done) return done;
    if (*changed || is->mtime_ns != e.mtime_ns) ++metadata_;
    // What is beneath a new directory may have been recorded before the directory came into view.
    if (made || depth.recurse) agenda_.directories.push_back({at.path, depth.beneath});
    return {};
}

Done Matcher::match_other(const Spot& at, Entry e, const MatchDepth& depth, Found found) {
    links_.drop_name_unless(at.path, e.object, found.usable ? found.usable->object.ino : 0);
    LinkGroup* group = links_.find(e.object);
    if (group != nullptr && group->ino == 0) {  // it is being built in this round, under this name or another one
        if (group->builder != at.path) group->waiting.push_back(at.path);
        return {};
    }
    if (group != nullptr) {
        const auto joined = join_group(at, e, found);
        if (!joined) return Unexpected(joined.error());
        if (*joined) {
            group = links_.find(e.object);
            if (group->compared_in == round_) return {};
            const auto now = stat_at(at.dir, at.name);
            if (!now) return cannot("look at", at.path, now.error());
            return update(at, std::move(e), depth, *now);
        }
    }
    // No name of that object is known. What is here may be another object's inode, which must keep its content.
    const bool foreign =
        found.usable && (links_.is_bound(found.usable->object.ino) || (found.usable->links > 1 && e.links == 1));
    if (foreign) found.usable.reset();
    if (!found.usable) return make_new(at, std::move(e), depth);
    if (e.links > 1) links_.bind(e.object, found.usable->object.ino, at.path);
    return update(at, std::move(e), depth, *found.usable);
}

// Makes the name one of the inode that the object is on the replica. False: no name of it is left, and the group is
// gone.
Result<bool, std::string> Matcher::join_group(const Spot& at, const Entry& e, const Found& found) {
    LinkGroup* group = links_.find(e.object);
    if (found.usable && found.usable->object.ino == group->ino) {
        links_.add_name(*group, at.path);
        return true;
    }
    while ((group = links_.find(e.object)) != nullptr) {
        const std::string name = *group->names.begin();
        const auto parent = open_parent_beneath(tree_.root(), name);
        const Spot from{parent ? parent->get() : -1, name, std::string(leaf_of(name))};
        const auto is = parent ? stat_at(from.dir, from.name) : SysResult<FileInfo>(fail(parent.error()));
        if (!is && is_trouble(is.error())) return cannot("look at", name, is.error());
        if (is && is->object.ino == group->ino) {
            if (auto done = tree_.link(from, at, found.occupied); !done) return Unexpected(done.error());
            ++metadata_;
            links_.add_name(*group, at.path);
            return true;
        }
        links_.drop_name(name);  // somebody else changed the replica
    }
    return false;
}

void Matcher::compared(const Entry& e, const MatchDepth& depth) {
    if (!is_all(depth)) return;
    if (LinkGroup* group = links_.find(e.object)) group->compared_in = round_;
}

Done Matcher::make_new(const Spot& at, Entry e, const MatchDepth& depth) {
    if (S_ISREG(e.mode)) {
        if (e.links > 1) links_.begin_building(e.object, at.path);
        compared(e, MatchDepth{});
        Transfer t;
        t.path = at.path;
        t.entry = std::move(e);
        agenda_.add(std::move(t));
        return {};
    }
    if (auto done = tree_.make_other(at, e); !done) return done;
    ++metadata_;
    const auto is = stat_at(at.dir, at.name);
    if (!is) return cannot("look at", at.path, is.error());
    if (e.links > 1) links_.bind(e.object, is->object.ino, at.path);
    return update(at, std::move(e), depth, *is);
}

Done Matcher::update(const Spot& at, Entry e, const MatchDepth& depth, const FileInfo& local) {
    compared(e, depth);
    const bool differs = local.size != e.size || local.mtime_ns != e.mtime_ns;
    const bool content =
        S_ISREG(e.mode) && depth.content != Content::kKeep && (depth.content != Content::kQuick || differs);
    if (content) {
        Transfer t;
        t.kind = Transfer::Kind::kUpdate;
        t.path = at.path;
        t.entry = std::move(e);
        t.ino = local.object.ino;
        t.foreign = tree_.keeping().wants(local);
        t.ranges = depth.ranges;
        agenda_.add(std::move(t));
        return {};
    }
    // Most objects of most resyncs: one call more instead of four.
    if (local.mtime_ns == e.mtime_ns && has_owner_and_mode(local, e) && e.xattr_hash == 0 &&
        has_no_xattrs_at(at.dir, at.name)) {
        return {};
    }
    const auto fd = open_at(at.dir, at.name, O_PATH);
    if (!fd) return cannot("open", at.path, fd.error());
    auto changed = attributes(fd->get(), at.path, e, local);
    if (!changed) return Unexpected(changed.error());
    if (local.mtime_ns != e.mtime_ns) {
        if (auto done = set_mtime_fd(fd->get(), e.mtime_ns); !done)
            return cannot("set the time of", at.path, done.error());
    }
    if (*changed || local.mtime_ns != e.mtime_ns) ++metadata_;
    return {};
}

}  // namespace tdfs

#include "common/resync/attributes.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "common/os/xattr_at.hpp"

namespace tdfs {
namespace {

constexpr std::uint32_t kPermissions = 07777;

// A security module of the replica's machine labels objects on its own and may not let go of it.
bool may_stay(const std::string& name, Errno e) {
    return name.rfind("security.", 0) == 0 && (e.value() == EPERM || e.value() == EACCES || e.value() == EOPNOTSUPP);
}

Entry plain_entry(const FileInfo& info) {
    Entry e;
    e.object = info.object;
    e.links = info.links;
    e.mode = info.mode;
    e.uid = info.uid;
    e.gid = info.gid;
    e.rdev = S_ISBLK(info.mode) || S_ISCHR(info.mode) ? info.rdev : 0;
    e.size = info.is_regular() ? info.size : 0;
    e.mtime_ns = info.mtime_ns;
    return e;
}

}  // namespace

SysResult<std::uint64_t> xattr_hash_of(int fd) {
    const auto names = list_xattrs(fd);
    if (!names && names.error().value() != EOPNOTSUPP) return fail(names.error());
    if (!names || names->empty()) return std::uint64_t{0};
    const auto all = read_all_xattrs(fd);
    if (!all) return fail(all.error());
    return hash_xattrs(*all);
}

// Most objects are neither symlinks nor have extended attributes, and walks look at very many: two calls instead of
// five. Where the name changes in between, the journal says so.
SysResult<std::optional<Entry>> entry_of(int dir, const std::string& name, std::uint64_t device) {
    if (!name.empty()) {
        const auto info = stat_at(dir, name);
        if (!info && info.error().value() == ENOENT) return std::optional<Entry>();
        if (!info) return fail(info.error());
        if (info->device != device) return std::optional<Entry>();
        if (!info->is_symlink() && has_no_xattrs_at(dir, name)) return std::optional<Entry>(plain_entry(*info));
    }
    const auto fd = open_at(dir, name, O_PATH);
    if (!fd) {
        if (fd.error().value() == ENOENT) return std::optional<Entry>();
        return fail(fd.error());
    }
    const auto info = stat_fd(fd->get());
    if (!info) return fail(info.error());
    if (info->device != device) return std::optional<Entry>();

    Entry e = plain_entry(*info);
    if (info->is_symlink()) {
        auto target = read_link_at(fd->get(), "");
        if (!target) return fail(target.error());
        e.target = std::move(*target);
    }
    const auto hash = xattr_hash_of(fd->get());
    if (!hash) return fail(hash.error());
    e.xattr_hash = *hash;
    return std::optional<Entry>(std::move(e));
}

bool has_owner_and_mode(const FileInfo& is, const Entry& e) {
    if (is.uid != e.uid || is.gid != e.gid) return false;
    return is.is_symlink() || (is.mode & kPermissions) == (e.mode & kPermissions);
}

SysResult<bool> set_owner_and_mode(int fd, const FileInfo& is, const Entry& e) {
    if (has_owner_and_mode(is, e)) return false;
    const bool wrong_owner = is.uid != e.uid || is.gid != e.gid;
    if (wrong_owner && ::fchownat(fd, "", e.uid, e.gid, AT_EMPTY_PATH) != 0) return fail_last();
    if (is.is_symlink()) return wrong_owner;  // has no permissions of its own
    // A change of owner takes the set-id bits away.
    const bool wrong_mode = wrong_owner || (is.mode & kPermissions) != (e.mode & kPermissions);
    if (wrong_mode) {
        if (auto done = change_mode(fd, e.mode & kPermissions); !done) return fail(done.error());
    }
    return wrong_mode;
}

SysResult<void> set_xattrs(int fd, const std::vector<std::pair<std::string, Bytes>>& xattrs, const Entry& e) {
    const auto present = read_all_xattrs(fd);
    if (!present) return fail(present.error());
    const auto find = [](const auto& list, const std::string& name) {
        return std::find_if(list.begin(), list.end(), [&](const auto& x) { return x.first == name; });
    };
    for (const auto& [name, value] : *present) {
        if (find(xattrs, name) != xattrs.end()) continue;
        const auto done = remove_xattr(fd, name);
        if (!done && done.error().value() != ENODATA && !may_stay(name, done.error())) return done;
    }
    for (const auto& [name, value] : xattrs) {
        const auto at = find(*present, name);
        if (at != present->end() && at->second == value) continue;
        if (const auto done = set_xattr(fd, name, value); !done) return done;
    }
    const auto is = stat_fd(fd);
    if (!is) return fail(is.error());
    const auto done = set_owner_and_mode(fd, *is, e);
    if (!done) return fail(done.error());
    return {};
}

}  // namespace tdfs

// Requests about attributes, extended ones included, and the file system's own.
#include <sys/stat.h>

#include <ctime>
#include <string>
#include <string_view>

#include "master/fuse_ops.hpp"
#include "master/fuse_reply.hpp"
#include "proto/record.hpp"

namespace tdfs::fuse {

namespace {

void getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) {
    reply_attributes(req, fs(req).attributes(node(req, ino)));
}

void setattr(fuse_req_t req, fuse_ino_t ino, struct stat* attr, int to_set, fuse_file_info* fi) {
    const InGroup in_group = [req](gid_t gid) { return is_in_group(req, gid); };
    AttributeChange c;
    const auto has = [&](int bit) { return (to_set & bit) != 0; };
    if (has(FUSE_SET_ATTR_MODE)) c.valid |= AttributesRecord::kMode;
    if (has(FUSE_SET_ATTR_UID)) c.valid |= AttributesRecord::kUid;
    if (has(FUSE_SET_ATTR_GID)) c.valid |= AttributesRecord::kGid;
    if (has(FUSE_SET_ATTR_SIZE)) c.valid |= AttributesRecord::kSize;
    if (has(FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) c.valid |= AttributesRecord::kMtime;
    c.mode = attr->st_mode;
    c.uid = attr->st_uid;
    c.gid = attr->st_gid;
    c.size = static_cast<std::uint64_t>(attr->st_size);
    // "Now" by the clock that the kernel stamps files with: a later write must not look older.
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    c.mtime_ns = to_ns(has(FUSE_SET_ATTR_MTIME_NOW) ? now : attr->st_mtim);
    c.set_atime = has(FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW);
    c.atime = has(FUSE_SET_ATTR_ATIME_NOW) ? now : attr->st_atim;
#ifdef TDFS_FUSE_317
    if (has(FUSE_SET_ATTR_SIZE) && has(FUSE_SET_ATTR_KILL_SUID)) c.kill_suidgid = &in_group;
#endif
    if (c.valid == 0 && !c.set_atime) {
        // A chown of nothing, or the kernel before a write: set-id bits go, which it leaves to us. It does not say which of the
        // two it is, so that the first succeeds for everybody who may reach the file.
        const auto info = fs(req).attributes(node(req, ino));
        if (!info) {
            fuse_reply_err(req, info.error().value());
            return;
        }
        if (info->is_regular() && fuse_req_ctx(req)->uid != 0) c.kill_suidgid = &in_group;
        c.valid = AttributesRecord::kUid;
        c.uid = info->uid;
    }
    OpenFile* const open_file = fi != nullptr ? &FuseHandles<OpenFile>::at(fi->fh) : nullptr;
    reply_attributes(req, fs(req).set_attributes(node(req, ino), open_file, c));
}

void readlink(fuse_req_t req, fuse_ino_t ino) {
    const auto target = fs(req).read_link(node(req, ino));
    target ? fuse_reply_readlink(req, target->c_str()) : fuse_reply_err(req, target.error().value());
}

void statfs(fuse_req_t req, fuse_ino_t) {
    const auto s = fs(req).statfs();
    s ? fuse_reply_statfs(req, &*s) : fuse_reply_err(req, s.error().value());
}
#ifdef TDFS_FUSE_318
void statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, fuse_file_info*) {
    const auto fd = fs(req).open_path(node(req, ino));
    struct statx stx {};
    if (!fd) {
        fuse_reply_err(req, fd.error().value());
    } else if (::statx(fd->get(), "", flags | AT_EMPTY_PATH, static_cast<unsigned>(mask), &stx) != 0) {
        fuse_reply_err(req, errno);
    } else {
        fuse_reply_statx(req, 0, &stx, kForever);
    }
}
#endif

void reply_bytes(fuse_req_t req, ByteView value, size_t size) {
    if (size == 0) {
        fuse_reply_xattr(req, value.size());
    } else if (value.size() > size) {
        fuse_reply_err(req, ERANGE);
    } else {
        fuse_reply_buf(req, reinterpret_cast<const char*>(value.data()), value.size());
    }
}

void getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, size_t size) {
    const auto value = fs(req).get_xattr(node(req, ino), name);
    value ? reply_bytes(req, *value, size) : static_cast<void>(fuse_reply_err(req, value.error().value()));
}

void listxattr(fuse_req_t req, fuse_ino_t ino, size_t size) {
    const auto names = fs(req).list_xattrs(node(req, ino));
    if (!names) {
        fuse_reply_err(req, names.error().value());
        return;
    }
    std::string all;
    for (const std::string& name : *names) all.append(name).push_back('\0');
    reply_bytes(req, as_bytes(all), size);
}

void setxattr(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value, size_t size, int flags) {
    // As a local file system: an access ACL set by someone who is not in the file's group takes the setgid bit.
    bool kill_sgid = false;
    if (std::string_view(name) == "system.posix_acl_access" && fuse_req_ctx(req)->uid != 0) {
        const auto info = fs(req).attributes(node(req, ino));
        kill_sgid = info && (info->mode & S_ISGID) != 0 && !is_in_group(req, info->gid);
    }
    reply_status(req, fs(req).set_xattr(node(req, ino), name, std::as_bytes(std::span(value, size)), flags, kill_sgid));
}

void removexattr(fuse_req_t req, fuse_ino_t ino, const char* name) {
    reply_status(req, fs(req).remove_xattr(node(req, ino), name));
}

}  // namespace

void set_attribute_operations(fuse_lowlevel_ops& o) {
    o.getattr = getattr;
    o.setattr = setattr;
    o.readlink = readlink;
    o.statfs = statfs;
    o.setxattr = setxattr;
    o.getxattr = getxattr;
    o.listxattr = listxattr;
    o.removexattr = removexattr;
#ifdef TDFS_FUSE_318
    o.statx = statx;
#endif
}

}  // namespace tdfs::fuse

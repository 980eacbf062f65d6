// Requests about names: found, forgotten, made, removed, renamed.
#include "master/fuse_ops.hpp"
#include "master/fuse_reply.hpp"

namespace tdfs::fuse {

namespace {

void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
    const auto found = fs(req).lookup(node(req, parent), name);
    if (!found && found.error() == Errno(ENOENT)) {  // a name that is not there is remembered as well
        fuse_entry_param e{};
        e.entry_timeout = kForever;
        fuse_reply_entry(req, &e);
        return;
    }
    reply_entry(req, found);
}

void forget(fuse_req_t req, fuse_ino_t ino, uint64_t references) {
    fs(req).forget(node(req, ino), references);
    fuse_reply_none(req);
}

void forget_multi(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
    for (size_t i = 0; i < count; ++i) fs(req).forget(node(req, forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(req);
}

void mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
    if ((mode & S_IFMT) == 0) mode |= S_IFREG;
    reply_entry(req, fs(req).make_node(caller(req), node(req, parent), name, mode, rdev));
}

void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
    reply_entry(req, fs(req).make_node(caller(req), node(req, parent), name, (mode & 07777) | S_IFDIR, 0));
}

void symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
    reply_entry(req, fs(req).symlink(caller(req), node(req, parent), name, target));
}

void link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char* new_name) {
    reply_entry(req, fs(req).link(node(req, ino), node(req, new_parent), new_name));
}

void unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
    reply_status(req, fs(req).unlink(node(req, parent), name));
}

void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
    reply_status(req, fs(req).rmdir(node(req, parent), name));
}

void rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent, const char* new_name,
            unsigned flags) {
    reply_status(req, fs(req).rename(node(req, parent), name, node(req, new_parent), new_name, flags));
}

}  // namespace

void set_name_operations(fuse_lowlevel_ops& o) {
    o.lookup = lookup;
    o.forget = forget;
    o.forget_multi = forget_multi;
    o.mknod = mknod;
    o.mkdir = mkdir;
    o.unlink = unlink;
    o.rmdir = rmdir;
    o.symlink = symlink;
    o.rename = rename;
    o.link = link;
}

}  // namespace tdfs::fuse

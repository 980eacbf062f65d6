// Requests about open files.
#include <fcntl.h>

#include "master/fuse_answers.hpp"
#include "master/fuse_ops.hpp"
#include "master/fuse_reply.hpp"
#include "master/fuse_wait.hpp"
#include "proto/record.hpp"

namespace tdfs::fuse {

namespace {

OpenFile& file(const fuse_file_info* fi) { return FuseHandles<OpenFile>::at(fi->fh); }

bool kills_suidgid([[maybe_unused]] fuse_req_t req, [[maybe_unused]] const fuse_file_info* fi) {
#ifdef TDFS_FUSE_318
    return fi->kill_suidgid;
#else
    // The library does not hand the kernel's word on: everybody but root loses the bits (one fstat a write).
    return !fi->writepage && fuse_req_ctx(req)->uid != 0;
#endif
}

// How a file is opened: written only, every write() is one request and no second page cache is kept; else the kernel caches, so
// that shared mappings work and their stores arrive here. With --writeback it caches everything that can be read, and a
// close() waits until that is written and tells of errors.
void set_open_mode(const FuseMount& here, const OpenFile& opened, fuse_file_info* fi) {
    const bool writeback = here.features().writeback;
    if (writeback ? !opened.readable : (fi->flags & O_ACCMODE) == O_WRONLY) {
        fi->direct_io = 1;
    } else {
        fi->keep_cache = 1;
    }
    fi->noflush = writeback ? 0 : 1;
}

void reply_created(fuse_req_t req, SysResult<std::pair<Found, std::unique_ptr<OpenFile>>> made, fuse_file_info* fi) {
    if (!made) {
        fuse_reply_err(req, made.error().value());
        return;
    }
    FuseMount& here = mount(req);
    const Found found = made->first;
    set_open_mode(here, *made->second, fi);
    fi->fh = here.files().give(std::move(made->second));
    const fuse_entry_param e = to_entry(found);
    if (fuse_reply_create(req, &e, fi) == 0) return;
    here.file_system().close(here.files().take(fi->fh));
    here.file_system().forget(found.node, 1);
}

void create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* fi) {
    Node* const dir = node(req, parent);
    auto made = fs(req).create(caller(req), dir, name, mode, fi->flags);
    if (!made && made.error() == Errno(EEXIST) && (fi->flags & O_EXCL) == 0) {
        // Made by another process between the kernel's look and this: opened as what it is.
        const auto found = fs(req).lookup(dir, name);
        if (!found) {
            fuse_reply_err(req, found.error().value());
            return;
        }
        auto opened = fs(req).open(found->node, fi->flags);
        if (opened && (fi->flags & O_TRUNC) != 0) {
            AttributeChange change;
            change.valid = AttributesRecord::kSize;
            const auto truncated = fs(req).set_attributes(found->node, opened->get(), change);
            if (!truncated) opened = fail(truncated.error());
        }
        if (!opened) {
            fs(req).forget(found->node, 1);
            fuse_reply_err(req, opened.error().value());
            return;
        }
        made = std::make_pair(*found, std::move(*opened));
    }
    reply_created(req, std::move(made), fi);
}
#ifdef TDFS_FUSE_317
void tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, fuse_file_info* fi) {
    reply_created(req, fs(req).tmpfile(caller(req), node(req, parent), mode, fi->flags), fi);
}
#endif
void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
    FuseMount& here = mount(req);
    auto opened = here.file_system().open(node(req, ino), fi->flags);
    if (!opened) {
        fuse_reply_err(req, opened.error().value());
        return;
    }
    set_open_mode(here, **opened, fi);
    fi->fh = here.files().give(std::move(*opened));
    if (fuse_reply_open(req, fi) != 0) here.file_system().close(here.files().take(fi->fh));
}

void release(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
    fs(req).close(mount(req).files().take(fi->fh));
    fuse_reply_err(req, 0);
}

void read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* fi) {
    const std::span<std::byte> buffer = answer_space(size);
    const auto n = fs(req).read(file(fi), buffer, static_cast<std::uint64_t>(offset));
    if (!n) {
        fuse_reply_err(req, n.error().value());
    } else {
        fuse_reply_buf(req, reinterpret_cast<const char*>(buffer.data()), *n);
    }
}

void write(fuse_req_t req, fuse_ino_t ino, const char* data, size_t size, off_t offset, fuse_file_info* fi) {
    const InGroup in_group = [req](gid_t gid) { return is_in_group(req, gid); };
    FileSystem::WriteHow how;
    // A kernel that caches writes says where the end is, which it alone knows.
    how.append = (fi->flags & O_APPEND) != 0 && !fi->writepage && !mount(req).features().writeback;
    if (kills_suidgid(req, fi)) how.kill_suidgid = &in_group;
    const auto n =
        fs(req).write(file(fi), std::as_bytes(std::span(data, size)), static_cast<std::uint64_t>(offset), how);
    if (!n) {
        fuse_reply_err(req, n.error().value());
        return;
    }
    const bool killed = how.kill_suidgid != nullptr;
    const auto reply = [session = mount(req).session(), ino, bytes = *n, killed](fuse_req_t written) {
        fuse_reply_write(written, bytes);
        // The kernel's idea of the mode may be older than the bits that have just gone.
        if (killed) fuse_lowlevel_notify_inval_inode(session, ino, -1, 0);
    };
    const bool durable = (fi->flags & O_DSYNC) != 0 && !fi->writepage;
    if (!durable) return reply(req);
    reply_synced(req, fs(req).sync_point(), reply);
}

void fsync(fuse_req_t req, fuse_ino_t, int data_only, fuse_file_info* fi) {
    reply_synced(req, fs(req).fsync(file(fi), data_only != 0));
}

void flush(fuse_req_t req, fuse_ino_t, fuse_file_info*) { fuse_reply_err(req, ENOSYS); }
void fallocate(fuse_req_t req, fuse_ino_t, int mode, off_t offset, off_t length, fuse_file_info* fi) {
    const InGroup in_group = [req](gid_t gid) { return is_in_group(req, gid); };
    reply_status(
        req, fs(req).fallocate(file(fi), mode, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length),
                               fuse_req_ctx(req)->uid != 0 ? &in_group : nullptr));
}

void copy_file_range(fuse_req_t req, fuse_ino_t, off_t from_offset, fuse_file_info* from, fuse_ino_t, off_t to_offset,
                     fuse_file_info* to, size_t length, int) {
    const InGroup in_group = [req](gid_t gid) { return is_in_group(req, gid); };
    const auto n = fs(req).copy_range(file(from), static_cast<std::uint64_t>(from_offset), file(to),
                                      static_cast<std::uint64_t>(to_offset), length,
                                      fuse_req_ctx(req)->uid != 0 ? &in_group : nullptr);
    n ? fuse_reply_write(req, *n) : fuse_reply_err(req, n.error().value());
}

void lseek(fuse_req_t req, fuse_ino_t, off_t offset, int whence, fuse_file_info* fi) {
    if (mount(req).features().writeback) {
        fuse_reply_err(req,
                       ENOSYS);  // what is not written yet would look like a hole: the kernel takes all for data then
        return;
    }
    const auto at = fs(req).seek(file(fi), static_cast<std::uint64_t>(offset), whence);
    at ? fuse_reply_lseek(req, static_cast<off_t>(*at)) : fuse_reply_err(req, at.error().value());
}

}  // namespace

void set_file_operations(fuse_lowlevel_ops& o) {
    o.open = open;
    o.read = read;
    o.write = write;
    o.flush = flush;
    o.release = release;
    o.fsync = fsync;
    o.create = create;
    o.fallocate = fallocate;
    o.copy_file_range = copy_file_range;
    o.lseek = lseek;
#ifdef TDFS_FUSE_317
    o.tmpfile = tmpfile;
#endif
    // No locks: flock and fcntl locks stay with the kernel, where a waiting process can be killed.
}

}  // namespace tdfs::fuse

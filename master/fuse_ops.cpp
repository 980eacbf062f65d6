#include "master/fuse_ops.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <limits>
#include <type_traits>

#include <spdlog/spdlog.h>

#include "master/effects.hpp"
#include "master/fuse_wait.hpp"
#include "master/mount.hpp"
#include "proto/record.hpp"

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
#define TDFS_FUSE_317 1
#endif
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
#define TDFS_FUSE_318 1
#endif

namespace tdfs {

#ifdef TDFS_FUSE_317
const bool FuseFeatures::kTmpfile = true;
#else
const bool FuseFeatures::kTmpfile = false;
#endif
#ifdef TDFS_FUSE_318
const bool FuseFeatures::kKillSuidgid = true;
const bool FuseFeatures::kStatx = true;
#else
const bool FuseFeatures::kKillSuidgid = false;
const bool FuseFeatures::kStatx = false;
#endif

// Everything changes through this mount, so the kernel may keep what it was told.
static constexpr double kForever = 86400.0;

static constexpr std::uint32_t kMaxBackground =
    std::numeric_limits<std::uint16_t>::max();  // as many as the protocol can ask for

// One function a request: take it apart, call, reply. A reply is never sent while a lock is held: FileSystem's calls have released
// theirs. No exception leaves: the calls return values, and running out of memory ends the process.
struct FuseOps {
    static FuseMount& mount(fuse_req_t req) { return *static_cast<FuseMount*>(fuse_req_userdata(req)); }
    static FileSystem& fs(fuse_req_t req) { return mount(req).fs_; }
    static Node* node(fuse_req_t req, fuse_ino_t ino) {
        return ino == FUSE_ROOT_ID ? mount(req).root_ : reinterpret_cast<Node*>(ino);
    }
    static OpenFile& file(const fuse_file_info* fi) { return *reinterpret_cast<OpenFile*>(fi->fh); }
    static OpenDirectory& directory(const fuse_file_info* fi) { return *reinterpret_cast<OpenDirectory*>(fi->fh); }
    static Caller caller(fuse_req_t req) {
        const fuse_ctx* const c = fuse_req_ctx(req);
        return {c->uid, c->gid, c->umask};
    }

    static timespec to_timespec(std::int64_t ns) {
        timespec t{};
        t.tv_sec = ns / 1'000'000'000;
        t.tv_nsec = ns % 1'000'000'000;
        if (t.tv_nsec < 0) {
            t.tv_nsec += 1'000'000'000;
            --t.tv_sec;
        }
        return t;
    }
    // Times beyond the years 1677 to 2262 are recorded as the nearest that 64 bits of nanoseconds hold.
    static std::int64_t to_ns(const timespec& t) {
        std::int64_t ns = 0;
        if (__builtin_mul_overflow(std::int64_t{t.tv_sec}, std::int64_t{1'000'000'000}, &ns) ||
            __builtin_add_overflow(ns, std::int64_t{t.tv_nsec}, &ns)) {
            return t.tv_sec < 0 ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int64_t>::max();
        }
        return ns;
    }

    static struct stat to_stat(const FileInfo& info) {
        struct stat st {};
        st.st_ino = info.object.ino;
        st.st_dev = info.device;
        st.st_mode = info.mode;
        st.st_nlink = info.links;
        st.st_uid = info.uid;
        st.st_gid = info.gid;
        st.st_rdev = info.rdev;
        st.st_size = static_cast<off_t>(info.size);
        st.st_blocks = static_cast<blkcnt_t>(info.blocks);
        st.st_blksize = static_cast<blksize_t>(info.block_size);
        st.st_atim = to_timespec(info.atime_ns);
        st.st_mtim = to_timespec(info.mtime_ns);
        st.st_ctim = to_timespec(info.ctime_ns);
        return st;
    }
    static fuse_entry_param to_entry(const Found& found) {
        fuse_entry_param e{};
        e.ino = reinterpret_cast<fuse_ino_t>(found.node);
        e.attr = to_stat(found.info);
        e.attr_timeout = kForever;
        e.entry_timeout = kForever;
        return e;
    }

    // Replies that hand the kernel a reference: if the request was given up meanwhile, the reference is taken back.
    static void reply_entry(fuse_req_t req, const SysResult<Found>& found) {
        if (!found) {
            fuse_reply_err(req, found.error().value());
            return;
        }
        FileSystem& file_system = fs(req);
        const fuse_entry_param e = to_entry(*found);
        if (fuse_reply_entry(req, &e) != 0) file_system.forget(found->node, 1);
    }
    template <class T>
    static void reply_status(fuse_req_t req, const SysResult<T>& result) {
        fuse_reply_err(req, result ? 0 : result.error().value());
    }
    static void reply_attributes(fuse_req_t req, const SysResult<FileInfo>& info) {
        if (!info) {
            fuse_reply_err(req, info.error().value());
            return;
        }
        const struct stat st = to_stat(*info);
        fuse_reply_attr(req, &st, kForever);
    }
    static bool kills_suidgid([[maybe_unused]] fuse_req_t req, [[maybe_unused]] const fuse_file_info* fi) {
#ifdef TDFS_FUSE_318
        return fi->kill_suidgid;
#else
        // The library does not hand the kernel's word on: everybody but root loses the bits (one fstat a write).
        return !fi->writepage && fuse_req_ctx(req)->uid != 0;
#endif
    }

    // How a file is opened: written only, every write() is one request and no second page cache is kept; else the kernel caches, so
    // that shared mappings work and their stores arrive here.
    static void set_open_mode(fuse_file_info* fi) {
        if ((fi->flags & O_ACCMODE) == O_WRONLY) {
            fi->direct_io = 1;
        } else {
            fi->keep_cache = 1;
        }
        fi->noflush = 1;
    }

    // --- session

    static void init(void* userdata, fuse_conn_info* conn) {
        auto& self = *static_cast<FuseMount*>(userdata);
        const auto want = [&](auto flag) {
#ifdef TDFS_FUSE_317
            return fuse_set_feature_flag(conn, flag);
#else
            if ((conn->capable & flag) == 0) return false;
            conn->want |= static_cast<unsigned>(flag);
            return true;
#endif
        };
        const auto refuse = [&](auto flag) {
#ifdef TDFS_FUSE_317
            fuse_unset_feature_flag(conn, flag);
#else
            conn->want &= ~static_cast<unsigned>(flag);
#endif
        };
        self.features_.acl = want(FUSE_CAP_POSIX_ACL);
        want(FUSE_CAP_DONT_MASK);
        want(FUSE_CAP_PARALLEL_DIROPS);
        want(FUSE_CAP_CACHE_SYMLINKS);
        want(FUSE_CAP_ASYNC_READ);
        want(FUSE_CAP_READDIRPLUS);
        want(FUSE_CAP_READDIRPLUS_AUTO);
#ifdef TDFS_FUSE_318
        self.features_.kill_privileges = want(FUSE_CAP_HANDLE_KILLPRIV_V2);
#endif
        refuse(FUSE_CAP_ATOMIC_O_TRUNC);   // truncation comes as an operation of its own
        refuse(FUSE_CAP_WRITEBACK_CACHE);  // order of writes would be lost
        refuse(FUSE_CAP_AUTO_INVAL_DATA);  // nobody else changes the files
        refuse(FUSE_CAP_SPLICE_READ);
        refuse(FUSE_CAP_SPLICE_WRITE);
        conn->max_write = std::min<unsigned>(
            conn->max_write == 0 ? kMaxWriteBytes : std::max(conn->max_write, 1u << 20), kMaxWriteBytes);
        conn->max_readahead = 1 << 20;
        // Parked writes of asynchronous I/O count as background requests, of which the kernel allows a dozen unless asked:
        // then all readahead would wait as well.
        if (self.gate_.on()) conn->max_background = kMaxBackground;
        conn->time_gran = 1;
        self.features_.max_write = conn->max_write;
    }

    // --- names

    static void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
        const auto found = fs(req).lookup(node(req, parent), name);
        if (!found && found.error() == Errno(ENOENT)) {  // a name that is not there is remembered as well
            fuse_entry_param e{};
            e.entry_timeout = kForever;
            fuse_reply_entry(req, &e);
            return;
        }
        reply_entry(req, found);
    }
    static void forget(fuse_req_t req, fuse_ino_t ino, uint64_t references) {
        fs(req).forget(node(req, ino), references);
        fuse_reply_none(req);
    }
    static void forget_multi(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
        for (size_t i = 0; i < count; ++i) fs(req).forget(node(req, forgets[i].ino), forgets[i].nlookup);
        fuse_reply_none(req);
    }
    static void mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
        if ((mode & S_IFMT) == 0) mode |= S_IFREG;
        reply_entry(req, fs(req).make_node(caller(req), node(req, parent), name, mode, rdev));
    }
    static void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
        reply_entry(req, fs(req).make_node(caller(req), node(req, parent), name, (mode & 07777) | S_IFDIR, 0));
    }
    static void symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
        reply_entry(req, fs(req).symlink(caller(req), node(req, parent), name, target));
    }
    static void link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char* new_name) {
        reply_entry(req, fs(req).link(node(req, ino), node(req, new_parent), new_name));
    }
    static void unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
        reply_status(req, fs(req).unlink(node(req, parent), name));
    }
    static void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
        reply_status(req, fs(req).rmdir(node(req, parent), name));
    }
    static void rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent, const char* new_name,
                       unsigned flags) {
        reply_status(req, fs(req).rename(node(req, parent), name, node(req, new_parent), new_name, flags));
    }

    // --- files

    static void reply_created(fuse_req_t req, SysResult<std::pair<Found, std::unique_ptr<OpenFile>>> made,
                              fuse_file_info* fi) {
        if (!made) {
            fuse_reply_err(req, made.error().value());
            return;
        }
        FileSystem& file_system = fs(req);
        const Found found = made->first;
        set_open_mode(fi);
        fi->fh = reinterpret_cast<uint64_t>(made->second.get());
        const fuse_entry_param e = to_entry(found);
        if (fuse_reply_create(req, &e, fi) == 0) {
            (void)made->second.release();  // close() below takes it again
            return;
        }
        file_system.close(std::move(made->second));
        file_system.forget(found.node, 1);
    }
    static void create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* fi) {
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
    static void tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, fuse_file_info* fi) {
        reply_created(req, fs(req).tmpfile(caller(req), node(req, parent), mode, fi->flags), fi);
    }
#endif
    static void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
        FileSystem& file_system = fs(req);
        auto opened = file_system.open(node(req, ino), fi->flags);
        if (!opened) {
            fuse_reply_err(req, opened.error().value());
            return;
        }
        set_open_mode(fi);
        fi->fh = reinterpret_cast<uint64_t>(opened->get());
        if (fuse_reply_open(req, fi) == 0) {
            (void)opened->release();
        } else {
            file_system.close(std::move(*opened));
        }
    }
    static void release(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
        fs(req).close(std::unique_ptr<OpenFile>(&file(fi)));
        fuse_reply_err(req, 0);
    }
    static void read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* fi) {
        static thread_local Bytes buffer;
        if (buffer.size() < size) buffer.resize(size);
        const auto n = fs(req).read(file(fi), std::span(buffer).first(size), static_cast<std::uint64_t>(offset));
        if (!n) {
            fuse_reply_err(req, n.error().value());
        } else {
            fuse_reply_buf(req, reinterpret_cast<const char*>(buffer.data()), *n);
        }
    }
    static void write(fuse_req_t req, fuse_ino_t ino, const char* data, size_t size, off_t offset, fuse_file_info* fi) {
        const InGroup in_group = [req](gid_t gid) { return is_in_group(req, gid); };
        FileSystem::WriteHow how;
        how.append = (fi->flags & O_APPEND) != 0 && !fi->writepage;
        if (kills_suidgid(req, fi)) how.kill_suidgid = &in_group;
        const auto n =
            fs(req).write(file(fi), std::as_bytes(std::span(data, size)), static_cast<std::uint64_t>(offset), how);
        if (!n) {
            fuse_reply_err(req, n.error().value());
            return;
        }
        const bool killed = how.kill_suidgid != nullptr;
        const auto reply = [session = mount(req).session_, ino, bytes = *n, killed](fuse_req_t written) {
            fuse_reply_write(written, bytes);
            // The kernel's idea of the mode may be older than the bits that have just gone.
            if (killed) fuse_lowlevel_notify_inval_inode(session, ino, -1, 0);
        };
        const bool durable = (fi->flags & O_DSYNC) != 0 && !fi->writepage;
        if (!durable) return reply(req);
        reply_synced(req, fs(req).sync_point(), reply);
    }
    static void reply_synced(fuse_req_t req, const SysResult<Lsn>& synced, std::function<void(fuse_req_t)> reply) {
        if (synced) return reply_when_confirmed(req, *synced, std::move(reply));
        fuse_reply_err(req, synced.error().value());
    }
    static void reply_success(fuse_req_t req) { fuse_reply_err(req, 0); }
    static void fsync(fuse_req_t req, fuse_ino_t, int data_only, fuse_file_info* fi) {
        reply_synced(req, fs(req).fsync(file(fi), data_only != 0), reply_success);
    }
    static void flush(fuse_req_t req, fuse_ino_t, fuse_file_info*) { fuse_reply_err(req, ENOSYS); }
    static void fallocate(fuse_req_t req, fuse_ino_t, int mode, off_t offset, off_t length, fuse_file_info* fi) {
        const InGroup in_group = [req](gid_t gid) { return is_in_group(req, gid); };
        reply_status(req, fs(req).fallocate(file(fi), mode, static_cast<std::uint64_t>(offset),
                                            static_cast<std::uint64_t>(length),
                                            fuse_req_ctx(req)->uid != 0 ? &in_group : nullptr));
    }
    static void copy_file_range(fuse_req_t req, fuse_ino_t, off_t from_offset, fuse_file_info* from, fuse_ino_t,
                                off_t to_offset, fuse_file_info* to, size_t length, int) {
        const InGroup in_group = [req](gid_t gid) { return is_in_group(req, gid); };
        const auto n = fs(req).copy_range(file(from), static_cast<std::uint64_t>(from_offset), file(to),
                                          static_cast<std::uint64_t>(to_offset), length,
                                          fuse_req_ctx(req)->uid != 0 ? &in_group : nullptr);
        n ? fuse_reply_write(req, *n) : fuse_reply_err(req, n.error().value());
    }
    static void lseek(fuse_req_t req, fuse_ino_t, off_t offset, int whence, fuse_file_info* fi) {
        const auto at = fs(req).seek(file(fi), static_cast<std::uint64_t>(offset), whence);
        at ? fuse_reply_lseek(req, static_cast<off_t>(*at)) : fuse_reply_err(req, at.error().value());
    }

    // --- attributes

    static void getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) {
        reply_attributes(req, fs(req).attributes(node(req, ino)));
    }
    static void setattr(fuse_req_t req, fuse_ino_t ino, struct stat* attr, int to_set, fuse_file_info* fi) {
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
        OpenFile* const open_file = fi != nullptr ? &file(fi) : nullptr;
        reply_attributes(req, fs(req).set_attributes(node(req, ino), open_file, c));
    }
    static void readlink(fuse_req_t req, fuse_ino_t ino) {
        const auto target = fs(req).read_link(node(req, ino));
        target ? fuse_reply_readlink(req, target->c_str()) : fuse_reply_err(req, target.error().value());
    }
    static void statfs(fuse_req_t req, fuse_ino_t) {
        const auto s = fs(req).statfs();
        s ? fuse_reply_statfs(req, &*s) : fuse_reply_err(req, s.error().value());
    }
#ifdef TDFS_FUSE_318
    static void statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, fuse_file_info*) {
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

    static void reply_bytes(fuse_req_t req, ByteView value, size_t size) {
        if (size == 0) {
            fuse_reply_xattr(req, value.size());
        } else if (value.size() > size) {
            fuse_reply_err(req, ERANGE);
        } else {
            fuse_reply_buf(req, reinterpret_cast<const char*>(value.data()), value.size());
        }
    }
    static void getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, size_t size) {
        const auto value = fs(req).get_xattr(node(req, ino), name);
        value ? reply_bytes(req, *value, size) : static_cast<void>(fuse_reply_err(req, value.error().value()));
    }
    static void listxattr(fuse_req_t req, fuse_ino_t ino, size_t size) {
        const auto names = fs(req).list_xattrs(node(req, ino));
        if (!names) {
            fuse_reply_err(req, names.error().value());
            return;
        }
        std::string all;
        for (const std::string& name : *names) all.append(name).push_back('\0');
        reply_bytes(req, as_bytes(all), size);
    }
    static void setxattr(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value, size_t size, int flags) {
        // As a local file system: an access ACL set by someone who is not in the file's group takes the setgid bit.
        bool kill_sgid = false;
        if (std::string_view(name) == "system.posix_acl_access" && fuse_req_ctx(req)->uid != 0) {
            const auto info = fs(req).attributes(node(req, ino));
            kill_sgid = info && (info->mode & S_ISGID) != 0 && !is_in_group(req, info->gid);
        }
        reply_status(req,
                     fs(req).set_xattr(node(req, ino), name, std::as_bytes(std::span(value, size)), flags, kill_sgid));
    }
    static bool is_in_group(fuse_req_t req, gid_t gid) {
        if (fuse_req_ctx(req)->gid == gid) return true;
        std::array<gid_t, 1024> groups{};
        const int n = fuse_req_getgroups(req, static_cast<int>(groups.size()), groups.data());
        const auto end = groups.begin() + std::clamp(n, 0, static_cast<int>(groups.size()));
        return std::find(groups.begin(), end, gid) != end;
    }
    static void removexattr(fuse_req_t req, fuse_ino_t ino, const char* name) {
        reply_status(req, fs(req).remove_xattr(node(req, ino), name));
    }

    // --- directories

    static void opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
        FileSystem& file_system = fs(req);
        auto opened = file_system.open_directory(node(req, ino));
        if (!opened) {
            fuse_reply_err(req, opened.error().value());
            return;
        }
        fi->fh = reinterpret_cast<uint64_t>(opened->get());
        if (fuse_reply_open(req, fi) == 0) {
            (void)opened->release();
        } else {
            file_system.close_directory(std::move(*opened));
        }
    }
    static void releasedir(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
        fs(req).close_directory(std::unique_ptr<OpenDirectory>(&directory(fi)));
        fuse_reply_err(req, 0);
    }
    static void readdir(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* fi) {
        std::string buffer(size, '\0');
        size_t used = 0;
        const auto done =
            fs(req).read_directory(directory(fi), static_cast<std::uint64_t>(offset), [&](const DirEntry& e) {
                struct stat st {};
                st.st_ino = e.ino;
                st.st_mode = static_cast<mode_t>(e.type) << 12;
                const size_t n = fuse_add_direntry(req, buffer.data() + used, size - used, std::string(e.name).c_str(),
                                                   &st, static_cast<off_t>(e.next));
                if (n > size - used) return false;
                used += n;
                return true;
            });
        done ? fuse_reply_buf(req, buffer.data(), used) : fuse_reply_err(req, done.error().value());
    }
    static void readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi) {
        FileSystem& file_system = fs(req);
        Node* const dir = node(req, ino);
        std::string buffer(size, '\0');
        size_t used = 0;
        std::vector<Node*> counted;
        const auto done =
            file_system.read_directory(directory(fi), static_cast<std::uint64_t>(offset), [&](const DirEntry& e) {
                const std::string name(e.name);
                fuse_entry_param entry{};
                entry.attr.st_ino = e.ino;
                entry.attr.st_mode = static_cast<mode_t>(e.type) << 12;
                if (fuse_add_direntry_plus(req, nullptr, 0, name.c_str(), &entry, 0) > size - used) return false;
                Node* looked_up = nullptr;
                if (name != "." && name != "..") {
                    const auto found = file_system.lookup(dir, name.c_str());
                    if (found) {
                        entry = to_entry(*found);
                        looked_up = found->node;
                    } else if (found.error() == Errno(ENOENT)) {
                        return true;  // gone since its name was read
                    }
                }
                used += fuse_add_direntry_plus(req, buffer.data() + used, size - used, name.c_str(), &entry,
                                               static_cast<off_t>(e.next));
                if (looked_up != nullptr) counted.push_back(looked_up);
                return true;
            });
        if (done && fuse_reply_buf(req, buffer.data(), used) == 0) return;
        for (Node* n : counted) file_system.forget(n, 1);
        if (!done) fuse_reply_err(req, done.error().value());
    }
    static void fsyncdir(fuse_req_t req, fuse_ino_t, int, fuse_file_info* fi) {
        reply_synced(req, fs(req).fsync_directory(directory(fi)), reply_success);
    }
};

const fuse_lowlevel_ops& fuse_operations() {
    static const fuse_lowlevel_ops operations = [] {
        fuse_lowlevel_ops o{};
        o.init = FuseOps::init;
        o.lookup = FuseOps::lookup;
        o.forget = FuseOps::forget;
        o.forget_multi = FuseOps::forget_multi;
        o.getattr = FuseOps::getattr;
        o.setattr = FuseOps::setattr;
        o.readlink = FuseOps::readlink;
        o.mknod = FuseOps::mknod;
        o.mkdir = FuseOps::mkdir;
        o.unlink = FuseOps::unlink;
        o.rmdir = FuseOps::rmdir;
        o.symlink = FuseOps::symlink;
        o.rename = FuseOps::rename;
        o.link = FuseOps::link;
        o.open = FuseOps::open;
        o.read = FuseOps::read;
        o.write = FuseOps::write;
        o.flush = FuseOps::flush;
        o.release = FuseOps::release;
        o.fsync = FuseOps::fsync;
        o.opendir = FuseOps::opendir;
        o.readdir = FuseOps::readdir;
        o.readdirplus = FuseOps::readdirplus;
        o.releasedir = FuseOps::releasedir;
        o.fsyncdir = FuseOps::fsyncdir;
        o.statfs = FuseOps::statfs;
        o.setxattr = FuseOps::setxattr;
        o.getxattr = FuseOps::getxattr;
        o.listxattr = FuseOps::listxattr;
        o.removexattr = FuseOps::removexattr;
        o.create = FuseOps::create;
        o.fallocate = FuseOps::fallocate;
        o.copy_file_range = FuseOps::copy_file_range;
        o.lseek = FuseOps::lseek;
#ifdef TDFS_FUSE_317
        o.tmpfile = FuseOps::tmpfile;
#endif
#ifdef TDFS_FUSE_318
        o.statx = FuseOps::statx;
#endif
        // No locks: flock and fcntl locks stay with the kernel, where a waiting process can be killed.
        return o;
    }();
    return operations;
}

}  // namespace tdfs

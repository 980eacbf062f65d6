#include "master/fuse_reply.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace tdfs::fuse {

namespace {
timespec to_timespec(std::int64_t ns) {
    timespec t{};
    t.tv_sec = ns / 1'000'000'000;
    t.tv_nsec = ns % 1'000'000'000;
    if (t.tv_nsec < 0) {
        t.tv_nsec += 1'000'000'000;
        --t.tv_sec;
    }
    return t;
}
}  // namespace

Caller caller(fuse_req_t req) {
    const fuse_ctx* const c = fuse_req_ctx(req);
    return {c->uid, c->gid, c->umask};
}

bool is_in_group(fuse_req_t req, gid_t gid) {
    if (fuse_req_ctx(req)->gid == gid) return true;
    std::array<gid_t, 1024> groups{};
    const int n = fuse_req_getgroups(req, static_cast<int>(groups.size()), groups.data());
    const auto end = groups.begin() + std::clamp(n, 0, static_cast<int>(groups.size()));
    return std::find(groups.begin(), end, gid) != end;
}

std::int64_t to_ns(const timespec& t) {
    std::int64_t ns = 0;
    if (__builtin_mul_overflow(std::int64_t{t.tv_sec}, std::int64_t{1'000'000'000}, &ns) ||
        __builtin_add_overflow(ns, std::int64_t{t.tv_nsec}, &ns)) {
        return t.tv_sec < 0 ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int64_t>::max();
    }
    return ns;
}

struct stat to_stat(const FileInfo& info) {
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

fuse_entry_param to_entry(const Found& found) {
    fuse_entry_param e{};
    e.ino = reinterpret_cast<fuse_ino_t>(found.node);
    e.attr = to_stat(found.info);
    e.attr_timeout = kForever;
    e.entry_timeout = kForever;
    return e;
}

void reply_entry(fuse_req_t req, const SysResult<Found>& found) {
    if (!found) {
        fuse_reply_err(req, found.error().value());
        return;
    }
    FileSystem& file_system = fs(req);
    const fuse_entry_param e = to_entry(*found);
    if (fuse_reply_entry(req, &e) != 0) file_system.forget(found->node, 1);
}

void reply_attributes(fuse_req_t req, const SysResult<FileInfo>& info) {
    if (!info) {
        fuse_reply_err(req, info.error().value());
        return;
    }
    const struct stat st = to_stat(*info);
    fuse_reply_attr(req, &st, kForever);
}

}  // namespace tdfs::fuse

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <limits>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

// Times beyond the years 1677 to 2262 become the nearest that 64 bits of nanoseconds hold.
std::int64_t to_ns(const statx_timestamp& t) {
    std::int64_t ns = 0;
    if (__builtin_mul_overflow(std::int64_t{t.tv_sec}, std::int64_t{1'000'000'000}, &ns) ||
        __builtin_add_overflow(ns, std::int64_t{t.tv_nsec}, &ns)) {
        return t.tv_sec < 0 ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int64_t>::max();
    }
    return ns;
}

FileInfo to_info(const struct statx& s) {
    FileInfo info;
    info.object.ino = s.stx_ino;
    if (s.stx_mask & STATX_BTIME) info.object.birth_ns = static_cast<std::uint64_t>(to_ns(s.stx_btime));
    info.device = makedev(s.stx_dev_major, s.stx_dev_minor);
    info.mode = s.stx_mode;
    info.links = s.stx_nlink;
    info.uid = s.stx_uid;
    info.gid = s.stx_gid;
    info.rdev = makedev(s.stx_rdev_major, s.stx_rdev_minor);
    info.size = s.stx_size;
    info.blocks = s.stx_blocks;
    info.block_size = s.stx_blksize;
    info.atime_ns = to_ns(s.stx_atime);
    info.mtime_ns = to_ns(s.stx_mtime);
    info.ctime_ns = to_ns(s.stx_ctime);
    return info;
}

SysResult<FileInfo> statx_of(int dir, const char* name) {
    constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT;
    struct statx s {};
    if (::statx(dir, name, kFlags, STATX_BASIC_STATS | STATX_BTIME, &s) != 0) return fail_last();
    return to_info(s);
}

}  // namespace

SysResult<FileInfo> stat_at(int dir, const std::string& name) { return statx_of(dir, name.c_str()); }

SysResult<FileInfo> stat_fd(int fd) {
    if (fd < 0) return fail(EBADF);  // AT_FDCWD is negative: it must not be taken for a file
    return statx_of(fd, "");
}

}  // namespace tdfs

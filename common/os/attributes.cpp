#include <fcntl.h>

#include <array>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

timespec to_timespec(std::int64_t ns) {
    timespec t{};
    t.tv_sec = ns / kNsPerSecond;
    t.tv_nsec = ns % kNsPerSecond;
    if (t.tv_nsec < 0) {  // before 1970: the fraction still counts forwards
        t.tv_nsec += kNsPerSecond;
        t.tv_sec -= 1;
    }
    return t;
}

SysResult<void> set_mtime(int dir, const char* name, std::int64_t mtime_ns) {
    const std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, to_timespec(mtime_ns)};
    if (::utimensat(dir, name, times.data(), AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0) return fail_last();
    return {};
}

}  // namespace

SysResult<void> change_mode(int fd, std::uint32_t permissions) {
    if (::fchmod(fd, permissions) == 0) return {};
    if (errno != EBADF) return fail_last();
    if (::chmod(proc_fd_path(fd).c_str(), permissions) != 0) return fail_last();  // O_PATH
    return {};
}

SysResult<void> set_mtime_at(int dir, const std::string& name, std::int64_t mtime_ns) {
    return set_mtime(dir, name.c_str(), mtime_ns);
}

SysResult<void> set_mtime_fd(int fd, std::int64_t mtime_ns) {
    if (fd < 0) return fail(EBADF);  // AT_FDCWD is negative: it must not be taken for a file
    return set_mtime(fd, "", mtime_ns);
}

}  // namespace tdfs

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include <climits>

#include "common/os/file.hpp"
#include "common/os/retry.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kMaxWalkBytes = PATH_MAX - 1;  // the kernel counts the NUL

bool creates(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

SysResult<OwnFd> open_short(int root, std::string_view path, int flags, mode_t mode) {
    const std::string name(path.empty() ? "." : path);
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
    how.mode = creates(flags) ? mode : 0;  // openat2 refuses a mode that means nothing
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
    const long fd = retry_interrupted([&] { return ::syscall(SYS_openat2, root, name.c_str(), &how, sizeof how); });
    if (fd < 0) return fail_last();
    return OwnFd(static_cast<int>(fd));
}

}  // namespace

SysResult<OwnFd> open_at(int dir, const std::string& name, int flags, mode_t mode) {
    const char* path = name.empty() ? "." : name.c_str();
    const int fd = retry_interrupted([&] { return ::openat(dir, path, flags | O_CLOEXEC | O_NOFOLLOW, mode); });
    if (fd < 0) return fail_last();
    return OwnFd(fd);
}

SysResult<OwnFd> open_beneath(int root, std::string_view path, int flags, mode_t mode) {
    if (path.find('\0') != std::string_view::npos) return fail(EINVAL);  // the kernel would see less than we were told
    OwnFd reached;
    int from = root;
    while (path.size() > kMaxWalkBytes) {
        const auto slash = path.rfind('/', kMaxWalkBytes);
        if (slash == std::string_view::npos || slash == 0) return fail(ENAMETOOLONG);
        auto next = open_short(from, path.substr(0, slash), O_PATH | O_DIRECTORY, 0);
        if (!next) return next;
        reached = std::move(*next);
        from = reached.get();
        path.remove_prefix(slash + 1);
    }
    return open_short(from, path, flags, mode);
}

SysResult<OwnFd> open_parent_beneath(int root, std::string_view path) {
    return open_beneath(root, parent_of(path), O_PATH | O_DIRECTORY);
}

std::string proc_fd_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

}  // namespace tdfs

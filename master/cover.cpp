#include "master/cover.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include <thread>

#include <spdlog/spdlog.h>

#include "common/daemon/mounts.hpp"
#include "common/os/file.hpp"

namespace tdfs {

namespace {
constexpr const char* kSource = "tdfs-cover";

// In a namespace of the calling thread's own, where taking the cover away shows the directory to nobody else.
SysResult<OwnFd> open_in_own_namespace(const std::string& directory) {
    if (::unshare(CLONE_NEWNS) != 0) return fail_last();
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return fail_last();
    if (::umount2(directory.c_str(), MNT_DETACH) != 0) return fail_last();
    const int fd = ::open_tree(AT_FDCWD, directory.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (fd < 0) return fail_last();
    return OwnFd(fd);
}
}  // namespace

Cover::~Cover() {
    if (directory_.empty() || !is_on(directory_)) return;  // somebody has mounted something since
    if (const auto done = take_away(directory_); !done) spdlog::error("{}", done.error());
}

bool Cover::is_on(const std::string& directory) {
    bool found = false;
    for (const Mount& mount : current_mounts()) {
        if (mount.point == directory) found = mount.type == "tmpfs" && mount.source == kSource;
    }
    return found;
}

Result<OwnFd, std::string> Cover::open_beneath(const std::string& directory) {
    SysResult<OwnFd> opened = fail(EIO);
    std::thread([&] { opened = open_in_own_namespace(directory); }).join();
    if (opened) return std::move(*opened);
    return Unexpected<std::string>("cannot look beneath the cover of " + directory + ": " + opened.error().text() +
                                   " (take it away: umount " + directory + ")");
}

Result<void, std::string> Cover::take_away(const std::string& directory) {
    if (::umount2(directory.c_str(), MNT_DETACH) == 0) return {};
    return Unexpected<std::string>("cannot take away the cover of " + directory + ": " + Errno::last().text() +
                                   " (try: umount " + directory + ")");
}

Result<void, std::string> Cover::put(const std::string& directory) {
    if (!is_on(directory)) {
        constexpr unsigned long kFlags = MS_RDONLY | MS_NODEV | MS_NOEXEC | MS_NOSUID;
        if (::mount(kSource, directory.c_str(), "tmpfs", kFlags, "size=4k,nr_inodes=2,mode=0555") != 0) {
            return Unexpected<std::string>("cannot cover " + directory + ": " + Errno::last().text());
        }
    }
    directory_ = directory;
    return {};
}

}  // namespace tdfs

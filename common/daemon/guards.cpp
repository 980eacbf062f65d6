#include "common/daemon/guards.hpp"

#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <memory>
#include <thread>

#include "common/daemon/identity.hpp"
#include "common/daemon/mounts.hpp"
#include "common/os/file.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

Unexpected<std::string> refused(const std::string& why) { return Unexpected<std::string>(why); }

// Symlinks resolved; "" where that cannot be done (errno says why).
std::string real_path(const std::string& path) {
    const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
    return real ? std::string(real.get()) : std::string();
}

// "a/b///" -> "a/b"; "/" stays.
std::string without_trailing_slashes(std::string path) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path;
}

bool has_marker(int dir) {
    auto holder = open_at(dir, std::string(kStateName), O_PATH | O_DIRECTORY);
    return holder && stat_at(holder->get(), kMarkerName).has_value();
}

}  // namespace

Result<void, std::string> check_system() {
    const auto proc = open_at(AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY);
    if (!proc) return refused("cannot open /proc/self/fd: " + proc.error().text() + ": mount /proc first");
    const auto beneath = open_beneath(proc->get(), "", O_PATH | O_DIRECTORY);
    if (beneath) return {};
    return refused("the system call openat2 does not work here: " + beneath.error().text() +
                   ": Linux 5.8 or later is needed, and a container must allow it");
}

Result<OwnFd, std::string> open_directory(const std::string& path) {
    const auto shown = printable(path);
    OwnFd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (dir) return dir;
    const auto error = Errno::last();
    switch (error.value()) {
        case ENOENT:
            return refused(shown + " does not exist: create the directory first, or mount it");
        case ENOTDIR:
            return refused(shown + " is not a directory");
        case EACCES:
            return refused(shown + " cannot be read: " + error.text());
        case ENOTCONN:
            return refused(shown + " is a mount whose daemon is gone: unmount it first (fusermount3 -u " + shown + ")");
        default:
            return refused(shown + " cannot be opened: " + error.text());
    }
}

Result<void, std::string> check_place(int dir, const std::string& dir_name) {
    const auto mount = mount_of(dir);
    if (mount && mount->type == kTdfsType) {
        return refused(dir_name + " lies on a tdfs mount (" + printable(mount->point) +
                       "): does a daemon run there already? Name the directory behind the mount");
    }
    auto here = open_at(dir, "", O_PATH | O_DIRECTORY);
    for (;;) {
        if (!here) return refused("cannot look above " + dir_name + ": " + here.error().text());
        const auto info = stat_fd(here->get());
        auto above = open_at(here->get(), "..", O_PATH | O_DIRECTORY);
        if (!above && above.error().value() == EACCES) return {};  // what we may not see is nobody's volume of ours
        if (!above || !info) return refused("cannot look above " + dir_name);
        const auto above_info = stat_fd(above->get());
        if (!above_info) return refused("cannot look above " + dir_name + ": " + above_info.error().text());
        if (above_info->object == info->object && above_info->device == info->device) return {};  // the root
        if (has_marker(above->get())) {
            const auto outer = read_link_at(AT_FDCWD, proc_fd_path(above->get()));
            return refused(dir_name + " lies inside the directory of another tdfs volume" +
                           (outer ? " (" + printable(*outer) + ")" : std::string()) +
                           ": choose a directory outside of it");
        }
        here = std::move(above);
    }
}

Result<bool, std::string> is_directory_empty(int dir, const std::string& dir_name) {
    const auto readable = open_at(dir, "", O_RDONLY | O_DIRECTORY);  // a read position of its own
    if (!readable) return refused(dir_name + " cannot be read: " + readable.error().text());
    const auto names = read_dir(readable->get());
    if (!names) return refused(dir_name + " cannot be read: " + names.error().text());
    for (const auto& entry : *names) {
        if (entry.name != kStateName && entry.name != "lost+found") return false;
    }
    return true;
}

Result<std::string, std::string> canonical_path(const std::string& path) {
    if (path.empty()) return refused("an empty path names nothing");
    if (auto real = real_path(path); !real.empty()) return real;
    const auto shown = printable(path);
    const auto error = Errno::last();

    // The last component does not exist, or is a mount that nobody serves: the parents decide.
    const auto trimmed = without_trailing_slashes(path);
    const auto slash = trimmed.rfind('/');
    const auto leaf = slash == std::string::npos ? trimmed : trimmed.substr(slash + 1);
    const auto parent = slash == std::string::npos ? std::string(".") : trimmed.substr(0, slash + 1);
    if (!is_valid_name(leaf)) return refused(shown + ": " + error.text());
    const auto real_parent = real_path(parent);
    if (real_parent.empty()) return refused(shown + ": " + Errno::last().text());
    return real_parent == "/" ? "/" + leaf : real_parent + "/" + leaf;
}

Result<bool, std::string> is_strictly_beneath(const std::string& path, const std::string& directory) {
    const auto inner = canonical_path(path);
    if (!inner) return refused(inner.error());
    const auto outer = canonical_path(directory);
    if (!outer) return refused(outer.error());
    if (*inner == *outer) return false;
    return *outer == "/" || inner->starts_with(*outer + "/");
}

bool find_stale_mount(const std::string& path) {
    // Not stat(): the kernel answers that from what it remembers of a dead daemon's root directory.
    struct statfs ignored {};
    const auto asked = [&] { return ::statfs(path.c_str(), &ignored) == 0 ? 0 : errno; };
    int error = asked();
    // Its daemon is just going: what it was asked last is given up.
    for (int i = 0; i < 1000 && (error == ECONNABORTED || error == ECANCELED); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        error = asked();
    }
    if (error != ENOTCONN) return false;
    const auto real = canonical_path(path);
    if (!real) return false;
    std::string type;  // of the topmost mount there
    for (const auto& mount : current_mounts()) {
        if (mount.point == *real) type = mount.type;
    }
    return type == kTdfsType;
}

}  // namespace tdfs

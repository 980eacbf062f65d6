#include "master/write_out.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "common/daemon/mounts.hpp"
#include "common/os/file.hpp"
#include "proto/errno.hpp"

namespace tdfs {

namespace {

// Gives up all descriptors of this thread but the standard ones and `kept`; the process keeps its own.
bool give_up_descriptors(int kept) {
    const auto fd = static_cast<unsigned>(kept);
    return ::close_range(fd + 1, ~0U, CLOSE_RANGE_UNSHARE) == 0 &&
           (fd <= STDERR_FILENO + 1 || ::close_range(STDERR_FILENO + 1, fd - 1, 0) == 0);
}

bool is_mounted(int mount_id) {
    const auto mounts = current_mounts();
    return std::any_of(mounts.begin(), mounts.end(),
                       [&](const Mount& m) { return m.id == mount_id && m.type == kTdfsType; });
}

}  // namespace

WriteOut::WriteOut(std::chrono::milliseconds interval, FileSystem& fs)
    : interval_(interval), fs_(fs), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    TDFS_INVARIANT(static_cast<bool>(wake_), "an eventfd can be made");
}

WriteOut::~WriteOut() { stop(); }

Result<void, std::string> WriteOut::start(const std::string& mountpoint) {
    const auto mount = [&]() -> std::optional<Mount> {  // let go at once: who holds it cannot unmount
        const OwnFd point(::open(mountpoint.c_str(), O_PATH | O_CLOEXEC));
        return point ? mount_of(point.get()) : std::nullopt;
    }();
    if (!mount || mount->type != kTdfsType) return Unexpected(mountpoint + " is not mounted any more");
    std::unique_lock lock(mutex_);
    state_ = State::kStarting;
    thread_ = std::thread([this, mountpoint, id = mount->id] { run(mountpoint, id); });
    changed_.wait(lock, [this] { return state_ != State::kStarting; });
    if (!error_.empty()) return Unexpected(error_);
    return {};
}

void WriteOut::wake() {
    const std::uint64_t one = 1;
    const auto written = ::write(wake_.get(), &one, sizeof one);
    TDFS_INVARIANT(written == sizeof one || errno == EAGAIN, "an eventfd that is full wakes as well");
}

std::uint64_t WriteOut::ask() {
    const std::lock_guard lock(mutex_);
    wake();
    return ++asked_;
}

bool WriteOut::await(std::uint64_t asked, std::chrono::milliseconds at_most) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, at_most, [&] { return done_ >= asked || state_ == State::kGone; });
}

void WriteOut::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        wake();
    }
    if (thread_.joinable()) thread_.join();
}

Result<OwnFd, std::string> WriteOut::attach(const std::string& mountpoint) const {
    if (!give_up_descriptors(wake_.get())) {
        return Unexpected("--writeback needs a thread with descriptors of its own (Linux 5.9): " +
                          Errno::last().text());
    }
    const OwnFd tree(::open_tree(AT_FDCWD, mountpoint.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    OwnFd root(tree ? ::openat(tree.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1);
    if (!root) return Unexpected("--writeback needs a second mount of " + mountpoint + ": " + Errno::last().text());
    return root;
}

void WriteOut::wait_for_writes(int root) {
    // What cannot be opened was removed or renamed meanwhile; after a rename syncfs() has begun its writes all the same.
    for (const std::string& path : fs_.written_paths()) {
        static_cast<void>(open_beneath(root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    }
}

void WriteOut::run(const std::string& mountpoint, int mount_id) {
    auto root = attach(mountpoint);
    OwnFd mounts(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
    std::unique_lock lock(mutex_);
    if (!root) error_ = root.error();
    if (root && !mounts) error_ = "--writeback watches /proc/self/mountinfo: " + Errno::last().text();
    state_ = error_.empty() && is_mounted(mount_id) ? State::kPushing : State::kGone;
    changed_.notify_all();
    while (state_ == State::kPushing) {
        const bool last = stopping_;
        const std::uint64_t covered = asked_;
        const bool asked = covered != done_ || last;
        lock.unlock();
        // An error is one of the pages' own, told to those who wrote them (close, fsync), or the mount's end.
        if (asked || fs_.has_writers()) static_cast<void>(::syncfs(root->get()));
        if (asked) wait_for_writes(root->get());
        lock.lock();
        done_ = covered;
        changed_.notify_all();
        if (last) break;
        lock.unlock();

        std::array<pollfd, 2> fds{pollfd{wake_.get(), POLLIN, 0}, pollfd{mounts.get(), POLLPRI, 0}};
        ::poll(fds.data(), fds.size(), static_cast<int>(interval_.count()));
        std::uint64_t wakes = 0;
        if ((fds[0].revents & POLLIN) != 0) static_cast<void>(::read(wake_.get(), &wakes, sizeof wakes));
        const bool gone = (fds[1].revents & (POLLPRI | POLLERR)) != 0 && !is_mounted(mount_id);
        lock.lock();
        if (gone) break;
    }
    state_ = State::kGone;
    changed_.notify_all();
}

}  // namespace tdfs

#include "slave/creator.hpp"

#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

// The daemon's own ids. It never changes them, and asking is a system call (each).
struct OwnIds {
    const uid_t uid = ::geteuid();
    const gid_t gid = ::getegid();
};

const OwnIds& own_ids() {
    static const OwnIds ids;
    return ids;
}

void prepare_thread() {
    thread_local bool t_prepared = false;
    if (t_prepared) return;
    t_prepared = true;
    // Each may be refused to an unprivileged daemon; correct() then does what it may, and says what it may not.
    if (::unshare(CLONE_FS) == 0) ::umask(0);
    const int bits = ::prctl(PR_GET_SECUREBITS);
    if (bits >= 0) static_cast<void>(::prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP));
}

// The calling thread creates under these ids while this lives. The plain system calls: the C library's would set them
// for all threads. They know no error: without the right nothing changes, and correct() will see it.
class CreatingAs {
  public:
    CreatingAs(std::uint32_t uid, std::uint32_t gid)
        : other_uid_(uid != own_ids().uid), other_gid_(gid != own_ids().gid) {
        if (other_gid_) static_cast<void>(::syscall(SYS_setfsgid, gid));
        if (other_uid_) static_cast<void>(::syscall(SYS_setfsuid, uid));
    }
    ~CreatingAs() {
        if (other_uid_) static_cast<void>(::syscall(SYS_setfsuid, own_ids().uid));
        if (other_gid_) static_cast<void>(::syscall(SYS_setfsgid, own_ids().gid));
    }
    CreatingAs(const CreatingAs&) = delete;
    CreatingAs& operator=(const CreatingAs&) = delete;

  private:
    const bool other_uid_, other_gid_;
};

}  // namespace

SysResult<OwnFd> Creator::make(const Place& at, const CreateRecord& r) {
    prepare_thread();
    const CreatingAs ids(r.uid, r.gid);
    const char* name = at.name.c_str();
    const std::uint32_t permissions = r.mode & kPermissions;
    int failed = 0;
    switch (r.mode & S_IFMT) {
        case S_IFREG:
            return open_at(at.dir, at.name, O_RDWR | O_CREAT | O_EXCL | O_NOCTTY, permissions);
        case S_IFDIR:
            failed = ::mkdirat(at.dir, name, permissions);
            break;
        case S_IFLNK:
            failed = ::symlinkat(std::string(as_text(r.target)).c_str(), at.dir, name);
            break;
        case S_IFIFO:
        case S_IFSOCK:
        case S_IFCHR:
        case S_IFBLK:
            failed = ::mknodat(at.dir, name, r.mode, r.rdev);
            break;
        default:
            return fail(EINVAL);
    }
    if (failed != 0) return fail_last();
    return OwnFd();
}

SysResult<void> Creator::correct(const Place& at, const OwnFd& made, const CreateRecord& r) {
    const auto is = made ? stat_fd(made.get()) : stat_at(at.dir, at.name);
    if (!is) return fail(is.error());
    OwnFd opened;
    const auto object = [&]() -> SysResult<int> {
        if (made) return made.get();
        if (opened) return opened.get();
        auto fd = open_at(at.dir, at.name, O_PATH);
        if (!fd) return fail(fd.error());
        opened = std::move(*fd);
        return opened.get();
    };
    const bool wrong_owner = is->uid != r.uid || is->gid != r.gid;
    if (wrong_owner) {
        const auto fd = object();
        if (!fd) return fail(fd.error());
        if (::fchownat(*fd, "", r.uid, r.gid, AT_EMPTY_PATH) != 0) return fail_last();
    }
    // A change of owner takes the set-id bits away; symlinks have no mode of their own.
    const bool wrong_mode = (is->mode & kPermissions) != (r.mode & kPermissions);
    if (!S_ISLNK(r.mode) && (wrong_mode || wrong_owner)) {
        const auto fd = object();
        if (!fd) return fail(fd.error());
        if (auto done = change_mode(*fd, r.mode & kPermissions); !done) return done;
    }
    // Files and directories get theirs when the master says that they have settled.
    if (!S_ISREG(r.mode) && !S_ISDIR(r.mode)) return set_mtime_at(at.dir, at.name, r.mtime_ns);
    return {};
}

SysResult<bool> Creator::looks_new(const Place& at, const CreateRecord& r) {
    const auto is = stat_at(at.dir, at.name);
    if (!is) return fail(is.error());
    if ((is->mode & S_IFMT) != (r.mode & S_IFMT)) return false;
    switch (r.mode & S_IFMT) {
        case S_IFREG:
            return is->size == 0 && is->links == 1;
        case S_IFLNK: {
            const auto target = read_link_at(at.dir, at.name);
            if (!target) return fail(target.error());
            return *target == as_text(r.target) && is->links == 1;
        }
        case S_IFDIR: {
            const auto dir = open_at(at.dir, at.name, O_RDONLY | O_DIRECTORY);
            if (!dir) return fail(dir.error());
            const auto names = read_dir(dir->get());
            if (!names) return fail(names.error());
            return names->empty();
        }
        case S_IFCHR:
        case S_IFBLK:
            return is->rdev == r.rdev && is->links == 1;
        default:
            return is->links == 1;
    }
}

}  // namespace tdfs

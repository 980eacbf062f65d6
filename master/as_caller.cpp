#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "master/file_system.hpp"

namespace tdfs {

namespace {
// The C library's setfsuid() is per thread too, but spends a call on reading the old value.
void set_fs_ids(uid_t uid, gid_t gid) {
    ::syscall(SYS_setfsgid, gid);
    ::syscall(SYS_setfsuid, uid);
    // Neither reports failure: with CAP_SETUID and CAP_SETGID, checked at start, they cannot fail.
}
}  // namespace

AsCaller::AsCaller(const Caller& who) : who_(who) {
    // The umask belongs to the file system context that threads share unless they are told not to.
    static thread_local const bool own_umask = ::unshare(CLONE_FS) == 0;
    TDFS_INVARIANT(own_umask, "a thread can have a umask of its own (CLONE_FS)");
    if (who_.uid != 0 || who_.gid != 0) set_fs_ids(who_.uid, who_.gid);
    ::umask(who_.umask);
}

AsCaller::~AsCaller() {
    ::umask(0);
    if (who_.uid != 0 || who_.gid != 0) set_fs_ids(0, 0);
}

}  // namespace tdfs

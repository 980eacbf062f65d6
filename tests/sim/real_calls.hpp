// The system's calls behind the intercepted ones, by the names the linker gives them.
#pragma once

#include <dirent.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>

// NOLINTBEGIN(*-reserved-identifier): the linker's names
#define TDFS_SIM_CALL(result, name, parameters) \
    result __real_##name parameters;            \
    result __wrap_##name parameters
extern "C" {
TDFS_SIM_CALL(int, openat, (int dir, const char* name, int flags, ...));
TDFS_SIM_CALL(int, open, (const char* path, int flags, ...));
TDFS_SIM_CALL(int, close, (int fd));
TDFS_SIM_CALL(ssize_t, pwrite, (int fd, const void* from, size_t bytes, off_t offset));
TDFS_SIM_CALL(ssize_t, pwritev, (int fd, const iovec* parts, int count, off_t offset));
TDFS_SIM_CALL(ssize_t, pread, (int fd, void* into, size_t bytes, off_t offset));
TDFS_SIM_CALL(ssize_t, preadv2, (int fd, const iovec* parts, int count, off_t offset, int flags));
TDFS_SIM_CALL(int, ftruncate, (int fd, off_t size));
TDFS_SIM_CALL(int, truncate, (const char* path, off_t size));
TDFS_SIM_CALL(int, fallocate, (int fd, int mode, off_t offset, off_t length));
TDFS_SIM_CALL(int, posix_fallocate, (int fd, off_t offset, off_t length));
TDFS_SIM_CALL(ssize_t, copy_file_range, (int from, off_t* in, int to, off_t* out, size_t length, unsigned flags));
TDFS_SIM_CALL(int, mkdirat, (int dir, const char* name, mode_t mode));
TDFS_SIM_CALL(int, mknodat, (int dir, const char* name, mode_t mode, dev_t device));
TDFS_SIM_CALL(int, symlinkat, (const char* target, int dir, const char* name));
TDFS_SIM_CALL(int, linkat, (int from_dir, const char* from, int dir, const char* name, int flags));
TDFS_SIM_CALL(int, unlinkat, (int dir, const char* name, int flags));
TDFS_SIM_CALL(int, renameat, (int from_dir, const char* from, int to_dir, const char* to));
TDFS_SIM_CALL(int, renameat2, (int from_dir, const char* from, int to_dir, const char* to, unsigned flags));
TDFS_SIM_CALL(long, syscall, (long number, ...));
TDFS_SIM_CALL(int, fchmod, (int fd, mode_t mode));
TDFS_SIM_CALL(int, chmod, (const char* path, mode_t mode));
TDFS_SIM_CALL(int, fchownat, (int dir, const char* name, uid_t uid, gid_t gid, int flags));
TDFS_SIM_CALL(int, utimensat, (int dir, const char* name, const timespec* times, int flags));
TDFS_SIM_CALL(int, fsetxattr, (int fd, const char* name, const void* value, size_t bytes, int flags));
TDFS_SIM_CALL(int, setxattr, (const char* path, const char* name, const void* value, size_t bytes, int flags));
TDFS_SIM_CALL(int, fremovexattr, (int fd, const char* name));
TDFS_SIM_CALL(int, removexattr, (const char* path, const char* name));
TDFS_SIM_CALL(int, fsync, (int fd));
TDFS_SIM_CALL(int, fdatasync, (int fd));
TDFS_SIM_CALL(int, syncfs, (int fd));
TDFS_SIM_CALL(int, posix_fadvise, (int fd, off_t offset, off_t length, int advice));
TDFS_SIM_CALL(void*, mmap, (void* at, size_t length, int protection, int flags, int fd, off_t offset));
TDFS_SIM_CALL(int, munmap, (void* at, size_t length));
TDFS_SIM_CALL(int, msync, (void* at, size_t length, int flags));
TDFS_SIM_CALL(int, statx, (int dir, const char* name, int flags, unsigned mask, struct statx* s));
TDFS_SIM_CALL(ssize_t, getdents64, (int fd, void* buffer, size_t bytes));
}
#undef TDFS_SIM_CALL
// NOLINTEND(*-reserved-identifier)

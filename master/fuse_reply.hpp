// What all FUSE requests share: what a request is about, conversions, and replies. A reply is never sent while a lock is held:
// FileSystem's calls have released theirs. No exception leaves: the calls return values, and running out of memory ends the process.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <ctime>

#include <fuse_lowlevel.h>

#include "master/file_system.hpp"
#include "master/mount.hpp"

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
#define TDFS_FUSE_317 1
#endif
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
#define TDFS_FUSE_318 1
#endif

namespace tdfs::fuse {

// Everything changes through this mount, so the kernel may keep what it was told.
inline constexpr double kForever = 86400.0;

inline FuseMount& mount(fuse_req_t req) { return *static_cast<FuseMount*>(fuse_req_userdata(req)); }
inline FileSystem& fs(fuse_req_t req) { return mount(req).file_system(); }
inline Node* node(fuse_req_t req, fuse_ino_t ino) {
    return ino == FUSE_ROOT_ID ? mount(req).root() : reinterpret_cast<Node*>(ino);
}
[[nodiscard]] Caller caller(fuse_req_t req);
[[nodiscard]] bool is_in_group(fuse_req_t req, gid_t gid);

// Times beyond the years 1677 to 2262 are recorded as the nearest that 64 bits of nanoseconds hold.
[[nodiscard]] std::int64_t to_ns(const timespec& t);
[[nodiscard]] struct stat to_stat(const FileInfo& info);
[[nodiscard]] fuse_entry_param to_entry(const Found& found);

// Hands the kernel a reference: if the request was given up meanwhile, the reference is taken back.
void reply_entry(fuse_req_t req, const SysResult<Found>& found);
void reply_attributes(fuse_req_t req, const SysResult<FileInfo>& info);

template <class T>
void reply_status(fuse_req_t req, const SysResult<T>& result) {
    fuse_reply_err(req, result ? 0 : result.error().value());
}

}  // namespace tdfs::fuse

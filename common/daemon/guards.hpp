// What both daemons check before they start. Each error is one line: what, where, what to do.
#pragma once

#include <string>

#include "common/os/fd.hpp"
#include "proto/result.hpp"

namespace tdfs {

// The machine has what we build on: /proc, and openat2 (which a container's filter may forbid).
Result<void, std::string> check_system();

// Opens DIR; says whether it is missing, not a directory, unreadable, or the place of a mount whose daemon is gone.
// A symlink to a directory is followed: DIR is what a person typed.
Result<OwnFd, std::string> open_directory(const std::string& path);

// Refuses a DIR inside another volume's directory, and one on a tdfs mount. DIR's own .tdfs is StateDir's affair.
Result<void, std::string> check_place(int dir, const std::string& dir_name);

// Ignores .tdfs and lost+found.
Result<bool, std::string> is_directory_empty(int dir, const std::string& dir_name);

// The absolute path without symlinks; the last component need not exist (its parents must).
Result<std::string, std::string> canonical_path(const std::string& path);
// Whether `path` lies strictly beneath `directory`, both made canonical first.
Result<bool, std::string> is_strictly_beneath(const std::string& path, const std::string& directory);

// Whether `path` is a mount of type fuse.tdfs whose daemon is gone: every access fails with ENOTCONN until it is
// unmounted.
[[nodiscard]] bool find_stale_mount(const std::string& path);

}  // namespace tdfs

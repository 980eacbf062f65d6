// A quick question about extended attributes, for walks over very many objects.
#pragma once

#include <string>

namespace tdfs {

// True: the object behind `name` in `dir` (not following a symlink) has no extended attributes for sure. False: it
// has, or the system did not say; ask with list_xattrs(). One system call, nothing is opened.
[[nodiscard]] bool has_no_xattrs_at(int dir, const std::string& name);

}  // namespace tdfs

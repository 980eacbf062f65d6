// libfuse's low-level operations, turned into calls of FileSystem.
#pragma once

#include <fuse_lowlevel.h>

namespace tdfs {

// The table for fuse_session_new(); its userdata is a FuseMount.
[[nodiscard]] const fuse_lowlevel_ops& fuse_operations();

}  // namespace tdfs

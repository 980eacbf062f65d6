// libfuse's low-level operations, turned into calls of FileSystem: one function a request takes it apart, calls, and replies.
#pragma once

#include <fuse_lowlevel.h>

namespace tdfs {

// The table for fuse_session_new(); its userdata is a FuseMount.
[[nodiscard]] const fuse_lowlevel_ops& fuse_operations();

namespace fuse {
// Its parts, by noun: fuse_names.cpp, fuse_files.cpp, fuse_attributes.cpp, fuse_directories.cpp.
void set_name_operations(fuse_lowlevel_ops& o);
void set_file_operations(fuse_lowlevel_ops& o);
void set_attribute_operations(fuse_lowlevel_ops& o);
void set_directory_operations(fuse_lowlevel_ops& o);
}  // namespace fuse

}  // namespace tdfs

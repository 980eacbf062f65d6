// What one object is beside its content: read as an Entry on the master, set on the replica.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/os/file.hpp"
#include "proto/resync.hpp"

namespace tdfs {

// 0: none. As hash_xattrs(), without reading values where there are none.
SysResult<std::uint64_t> xattr_hash_of(int fd);

// What `name` in `dir` is ("": the directory itself). Nothing:
// no such name, or it lies on another file system than `device`. Entry.name is left empty.
SysResult<std::optional<Entry>> entry_of(int dir, const std::string& name, std::uint64_t device);

[[nodiscard]] bool has_owner_and_mode(const FileInfo& is, const Entry& e);

// Gives the object behind `fd` (O_PATH will do), which is as `is` says, the entry's owner and permissions. True:
// something had to be changed.
SysResult<bool> set_owner_and_mode(int fd, const FileInfo& is, const Entry& e);

// Makes the extended attributes equal; then the permissions again, which ACLs are a part of.
SysResult<void> set_xattrs(int fd, const std::vector<std::pair<std::string, Bytes>>& xattrs, const Entry& e);

}  // namespace tdfs

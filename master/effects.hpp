// Effects on the backing directory that can be repeated: used by the operations, and again by recovery.
#pragma once

#include <functional>

#include "common/os/file.hpp"
#include "proto/errno.hpp"
#include "proto/record.hpp"

namespace tdfs::effects {

SysResult<void> fallocate(int fd, const FallocateRecord& r);

// Copies up to r.length bytes; fewer where the source ends first.
SysResult<std::uint64_t> copy_range(int from, int to, const CopyRangeRecord& r);

// File systems set a file's time before they write to it, so a write, fallocate or copy that failed, or was cut off by a kill
// before anything of it was done, may have changed that. Recorded as a write of no bytes it names the file whose time is to
// be settled, to a restart too.
template <class R>
WriteRecord write_of_nothing(const R& r) {
    return {r.object, r.path, r.offset, {}};
}

// Size, owner, mode, mtime, as far as r.valid says, on the object behind `fd` (any descriptor, also O_PATH). A change of owner clears
// set-id bits, as for any caller; the mode afterwards is put into r (kMode) in that case. On an error r.valid says
// what was done before it.
SysResult<void> set_attributes(int fd, AttributesRecord& r);

// The permission bits that are left of `info`'s once someone who may not keep set-id bits has changed the file, by the kernel's rule:
// setuid goes; setgid goes if the group may execute, or the caller (in_group) is not in it.
std::uint32_t without_set_id(const FileInfo& info, const std::function<bool(gid_t)>& in_group);

}  // namespace tdfs::effects

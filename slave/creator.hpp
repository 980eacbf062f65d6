// Makes new objects with their final owner and mode in a single system call.
#pragma once

#include <cstdint>

#include "common/os/fd.hpp"
#include "proto/errno.hpp"
#include "proto/record.hpp"
#include "slave/replica_tree.hpp"

namespace tdfs {

inline constexpr std::uint32_t kPermissions = 07777;  // of a mode

// An object that is seen with another owner first could be opened by the wrong one, and a chown after the fact is a
// second step. So the thread creates under the file system ids of the record (SECBIT_NO_SETUID_FIXUP keeps its
// capabilities), with a umask of 0 of its own; what a set-group-id parent or missing privileges made different is
// corrected at once.
//
// The umask is the calling thread's own from the first call on, and the ids for the length of each call. Not
// thread-safe; owned by the applier.
class Creator {
  public:
    // A regular file comes back open for reading and writing; other kinds give an empty descriptor. EEXIST: not made.
    SysResult<OwnFd> make(const Place& at, const CreateRecord& r);
    // Corrects what is not as in the record. `made` may be empty.
    SysResult<void> correct(const Place& at, const OwnFd& made, const CreateRecord& r);
    // Whether what stands there may be what make() left when it was killed: of that kind, and still as if new.
    SysResult<bool> looks_new(const Place& at, const CreateRecord& r);
};

}  // namespace tdfs

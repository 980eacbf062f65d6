// The next segment, allocated before it is needed.
#pragma once

#include <atomic>
#include <mutex>

#include "common/os/fd.hpp"
#include "proto/errno.hpp"
#include "proto/ids.hpp"

namespace tdfs {

// Keeps at most one preallocated file under the name "spare" and hands it out as a segment by renaming it.
//
// Thread-safe: the keeper's thread prepares while writers take; a writer that comes too early waits for the
// allocation under way, or makes its own. Owned by the Journal; `dir` outlives it.
class SpareSegment {
  public:
    // `keep_free`: bytes that must be left on the file system when one is made.
    SpareSegment(int dir, std::uint64_t bytes, std::uint64_t keep_free)
        : dir_(dir), bytes_(bytes), keep_free_(keep_free) {}

    // ENOSPC and the like: there is no spare, and no disk space is held for one.
    SysResult<void> prepare() { return prepare(keep_free_); }
    SysResult<void> prepare(std::uint64_t keep_free);  // this once
    // The file now has the segment's name. On an error nothing has changed, but a spare may stand ready.
    SysResult<OwnFd> take_as(Lsn first);
    // Gives the space back; also removes what an earlier process left.
    SysResult<void> remove();
    [[nodiscard]] std::uint64_t disk_bytes() const { return held_.load(); }

  private:
    SysResult<void> make(std::uint64_t keep_free);  // under mutex_

    const int dir_;
    const std::uint64_t bytes_;
    const std::uint64_t keep_free_;
    std::mutex mutex_;
    OwnFd fd_;  // guarded by mutex_
    std::atomic<std::uint64_t> held_{0};
};

}  // namespace tdfs

// One file of the journal, its name on disk, and the disk space it holds.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/os/fd.hpp"
#include "proto/errno.hpp"
#include "proto/ids.hpp"

namespace tdfs {

// The frames from `first` on: a byte's offset in the file is its lsn minus first(). Knows nothing of where the segment
// ends; the journal does (where the next one begins, or at the tail).
//
// Immutable, thread-safe. Shared by the journal, by reservations in it, and by readers, who can go on reading a segment
// that the journal has dropped meanwhile.
class Segment {
  public:
    Segment(Lsn first, OwnFd fd) : first_(first), fd_(std::move(fd)) {}
    [[nodiscard]] Lsn first() const { return first_; }
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] std::uint64_t offset_of(Lsn at) const { return at - first_; }

  private:
    const Lsn first_;
    const OwnFd fd_;
};

// "<16 lower-case hex digits>.seg" and back. Anything else, or an lsn above kMaxSegmentFirst, is no segment's name.
inline constexpr std::uint64_t kMaxSegmentFirst = 1ull << 62;  // so that sums of lsn and lengths cannot overflow
[[nodiscard]] std::string segment_name(Lsn first);
[[nodiscard]] std::optional<Lsn> parse_segment_name(std::string_view name);

// A new, empty segment file; EEXIST where there is one.
SysResult<std::shared_ptr<const Segment>> create_segment(int dir, Lsn first);

// Holds the disk space of [from, to) and makes the file that long; the bytes read as zero. On an error the file ends
// at `from` and holds nothing beyond it.
SysResult<void> preallocate(int fd, std::uint64_t from, std::uint64_t to);

// ENOSPC where taking `bytes` would leave less than `keep` free on the file system of `fd`.
SysResult<void> leaves_free(int fd, std::uint64_t bytes, std::uint64_t keep);

// Asks file systems that copy on write (btrfs) to write this still empty file in place, since only then does space held
// once stay held. Others do not know the wish and need not.
void write_in_place(int fd);

}  // namespace tdfs

// Content that the kernel takes for written, and which never reached the disk.
#pragma once

#include <cstdint>
#include <map>

#include "tests/sim/random.hpp"
#include "tests/sim/tree.hpp"

namespace tdfs::sim {

// What a failed write to the disk leaves: the kernel says EIO once and takes some of the pages for clean. It goes on showing
// them, later syncs pass them over and say 0, and they are gone with the power, or when the kernel lets go of them. A
// page that is written to again is dirty again.
class LostPages {
  public:
    // Writing `now` to the disk, which holds `on_disk` of it, has failed.
    void lose(const Object& now, const Object& on_disk, Random& random);

    void written(std::uint64_t ino, std::uint64_t offset, std::uint64_t bytes);
    void cut(std::uint64_t ino, std::uint64_t size);

    // `result` is about to be called the disk's content of a file that the kernel shows as `now`: what it cannot hold
    // is taken back to `on_disk`.
    void take_back(Object& result, const Object& now, const Object& on_disk);

    [[nodiscard]] bool any_of(std::uint64_t ino) const { return pages_.contains(ino); }
    void clear() { pages_.clear(); }
    void clear(std::uint64_t ino) { pages_.erase(ino); }

  private:
    // By inode and number; with the content, since stores to mapped pages are not seen when they are made.
    std::map<std::uint64_t, std::map<std::uint64_t, Bytes>> pages_;
};

}  // namespace tdfs::sim

// The reservations under way, in memory that outlives the process.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "common/journal/mapped_file.hpp"
#include "common/journal/slot_pool.hpp"
#include "proto/bytes.hpp"
#include "proto/errno.hpp"
#include "proto/ids.hpp"

namespace tdfs {

inline constexpr std::size_t kMaxIntentBytes = 136 * 1024;  // two longest paths and the longest xattr value

// A reservation that a killed process left behind: found at open, to be resolved before the journal is used.
struct InFlight {
    Lsn lsn;
    std::uint32_t frame_bytes = 0;
    std::uint64_t time_ns = 0;
    Bytes intent;
};

// The file "inflight": slots of kSlotBytes, each a header and an intent. Invariant: a slot whose frame_bytes is not 0
// names a place that was set aside, with the whole intent; all other slots say nothing. Header and intent are
// checksummed: an effect must not be forgotten, or taken for another one, because of a flipped bit.
//
// Thread-safe; a slot belongs to one thread from take() to release(). The file is allocated at the first take(), so
// that a journal that is only appended to needs none. Owned by the Journal; `dir` outlives it.
class InflightTable {
  public:
    InflightTable(int dir, std::uint32_t slots) : dir_(dir), slots_(slots), pool_(slots) {}

    // Before the first take(): what an earlier process left, by lsn. `damaged`: slots more that say something, and
    // nobody can tell what.
    SysResult<std::vector<InFlight>> leftovers(std::uint32_t& damaged) const;
    SysResult<void> clear();

    // A slot that holds `intent` but names no place yet. Waits for a free one; ECANCELED after interrupt().
    SysResult<std::uint32_t> take(ByteView intent);
    // From here on the reservation outlives the process.
    void arm(std::uint32_t slot, Lsn lsn, std::uint32_t frame_bytes, std::uint64_t time_ns);
    void release(std::uint32_t slot);
    void interrupt() { pool_.interrupt(); }

  private:
    struct Slot;
    [[nodiscard]] Slot& slot(std::uint32_t number) const;
    SysResult<void> map();

    const int dir_;
    const std::uint32_t slots_;
    SlotPool pool_;
    std::mutex map_mutex_;
    std::atomic<bool> mapped_{false};
    MappedFile file_;  // set once, before mapped_
};

}  // namespace tdfs

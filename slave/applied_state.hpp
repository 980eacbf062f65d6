// Where the replica stands: the memory-mapped file `applied` in the state directory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/os/fd.hpp"
#include "proto/ids.hpp"
#include "proto/result.hpp"

namespace tdfs {

// One moment of the replay.
struct AppliedPoint {
    Lsn lsn;                    // end of the last record applied
    std::uint64_t time_ns = 0;  // when the master made it
    std::uint64_t count = 0;    // records applied since the volume came here
};

inline constexpr unsigned kMostWorkers = 32;    // each has a place for its note
inline constexpr std::size_t kMostAhead = 256;  // records applied ahead of the position that can be marked

// What was noted before an effect that cannot simply be repeated: the local inode numbers that stood at the names then.
struct StartedNote {
    std::uint64_t ino = 0;        // at the first name; 0 where nothing was looked up
    std::uint64_t other_ino = 0;  // at the second name (exchange)
};

// Invariant: whichever instruction a kill -9 falls on, the file tells one moment whole (never the lsn of one and the
// time of another), and an effect whose note is missing has not been started. Stores are plain memory stores, so the
// file outlives the process but not the machine: what survives a power loss is the checkpoint alone, which is synced. A
// file of another boot is therefore read by its checkpoint, whatever else stands there: the page goes to the disk while
// the replay stores into it, so that of all else the half may be there. Each point and the note carry a checksum; what does not
// verify when the file is opened is not believed, and what happens to the file while it is open is not looked at: this
// object keeps what it says in memory of its own.
//
// With workers (see Wave) records beyond the position are applied before it gets there. Each that is done is marked before its
// worker notes the next, and the position comes past all of them, skipping what is marked, before there are marks of others.
// An older program does not know of marks and refuses the file while there are some: its version is another one then.
//
// started() and is_done() are for the thread that applies the record; start() and clear_started() likewise, each thread with a
// place of its own; mark_done() is for workers between begin_ahead() and the time the replay thread has seen them all finish.
// advance() and begin_ahead() belong to the replay thread, checkpoint() to the checkpointer, reset() and
// invalidate() to whoever has stopped all of them; point(), durable_point() and is_ahead_of() may be read by any thread.
// Owned by the replica.
class AppliedState {
  public:
    enum class Found { kNothing, kThisBoot, kEarlierBoot, kUnusable };

    // Opens or creates the file in the state directory `dir`. `boot`: boot id of this boot of the machine. kUnusable:
    // damaged; it is made anew, and no position is known.
    static Result<std::unique_ptr<AppliedState>, std::string> open(int dir, const std::string& boot);
    ~AppliedState();
    AppliedState(const AppliedState&) = delete;
    AppliedState& operator=(const AppliedState&) = delete;

    [[nodiscard]] Found found() const { return found_; }

    // False: no position is known (fresh, or a resync is under way).
    [[nodiscard]] bool valid() const;
    [[nodiscard]] AppliedPoint point() const;
    [[nodiscard]] AppliedPoint durable_point() const;  // of the last checkpoint

    // `worker`: 1 to kMostWorkers; 0 is the replay thread.
    void start(Lsn record, const StartedNote& note, unsigned worker = 0);
    [[nodiscard]] std::optional<StartedNote> started(Lsn record) const;
    void clear_started(Lsn record);
    void advance(Lsn end, std::uint64_t time_ns);

    // Records before `until` may be applied ahead of the position from here on, as many as can be marked.
    void begin_ahead(Lsn until);
    void mark_done(Lsn record);
    [[nodiscard]] bool is_done(Lsn record) const { return is_ahead_of(record) && is_marked(record); }
    // Whether something behind `position` may be applied already.
    [[nodiscard]] bool is_ahead_of(Lsn position) const {
        return position.bytes() < ahead_until_.load(std::memory_order_acquire);
    }

    // Makes `at` what is found after a power loss. The caller has synced the replica since it stood there.
    Result<void, std::string> checkpoint(const AppliedPoint& at);
    // A new beginning, durable when it returns.
    Result<void, std::string> reset(const AppliedPoint& at);
    Result<void, std::string> invalidate();
    // The same for later processes of this boot only; cannot fail, and may meet a replay that goes on. For a disk that failed and may not
    // take anything else either. Until reset() or invalidate().
    void distrust();
    [[nodiscard]] bool distrusted() const;

  private:
    struct Layout;
    AppliedState(OwnFd fd, Layout* map);
    [[nodiscard]] bool has_intact_checkpoint() const;
    [[nodiscard]] bool is_intact() const;
    [[nodiscard]] bool is_marked(Lsn record) const;
    void clear_all_started();
    void forget_ahead();
    void set_version(std::uint32_t version);
    void store(const AppliedPoint& at);
    void set_valid(bool valid);
    Result<void, std::string> sync();

    OwnFd fd_;
    Layout* map_;
    const std::unique_ptr<Layout> own_;  // what readers see; the same as in the file unless that is damaged
    Found found_ = Found::kThisBoot;
    std::atomic<std::uint64_t> ahead_until_{0};  // 0: nothing is ahead
    std::atomic<std::size_t> next_mark_{0};
};

}  // namespace tdfs

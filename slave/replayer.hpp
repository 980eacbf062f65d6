// The thread that replays the spool.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/journal/journal.hpp"
#include "slave/applied_state.hpp"
#include "slave/applier.hpp"
#include "slave/apply_crew.hpp"
#include "slave/brake.hpp"
#include "slave/replay_gates.hpp"
#include "slave/wave.hpp"

namespace tdfs {

struct ReplayStatus {
    enum class State { kStopped, kRunning, kStalled, kDamaged, kPaused } state = State::kStopped;
    std::string error;          // of kStalled, kDamaged and kPaused: one line
    std::uint64_t records = 0;  // since the daemon started
    std::uint64_t bytes = 0;    // of frames
    std::uint64_t skipped = 0;  // void frames
    std::uint64_t retries = 0;
    std::uint64_t soft_errors = 0;  // records that went well when they were tried again
    std::uint64_t hard_errors = 0;  // records that were left to a repair
};

// Asked what becomes of a record that could not be applied.
using JudgeFailure = std::function<Verdict(const Record&, Lsn, const ApplyError&)>;

// Applies the frames of the spool in order, from the applied position on, and moves that position after each.
// A record that cannot be applied stops it (kStalled): it is tried again with growing pauses until it works, and said
// once, unless it is judged otherwise. A frame that cannot be read or understood ends it (kDamaged): only a resync helps. While the brake is on, or where
// it does not admit a record, nothing is applied (kPaused).
//
// With a crew it looks ahead: what can be applied at once is collected (Wave) and given to the crew, and then the position moves
// over it, record by record. Whatever is not done then, and all that is not for a crew, is applied in the ordinary way. Between
// waves the tree is what the position says: there it meets gates and sync points, pauses and stops.
//
// Owned by the replica, which alone starts and stops it; status() and wake() from any thread. `spool`, `state`, `applier`,
// `brake` and `crew` outlive it, and nobody else applies anything while it runs.
class Replayer {
  public:
    // `on_progress` is called from the thread: at the tail, at a sync point, every 50 ms of work, and when the state changes.
    // No `crew`: one thread applies everything in order.
    Replayer(Journal& spool, AppliedState& state, Applier& applier, Brake& brake, std::function<void()> on_progress,
             JudgeFailure judge = {}, ApplyCrew* crew = nullptr);
    ~Replayer();  // stop()
    Replayer(const Replayer&) = delete;
    Replayer& operator=(const Replayer&) = delete;

    void start();
    void stop();                       // returns after the record being applied, or between two tries
    void wake() { listener_.wake(); }  // the brake has changed
    [[nodiscard]] ReplayStatus status() const;
    // Any thread; see ReplayGate.
    void meet(Lsn at, ReplayGate::Meeting meeting);
    ReplayGates& gates() { return gates_; }

  private:
    enum class Next { kGoOn, kEnd };
    void run();
    bool apply_wave(JournalReader& reader);
    void collect(JournalReader& reader);
    void names_changed(const Record& r);
    void forget();
    Next apply(const FrameView& frame, Bytes& scratch);
    Next wait_while_paused();
    [[nodiscard]] std::string deletions_behind(Lsn lsn);
    Next wait_for_frames(Lsn position);
    Next stalled(Lsn lsn, const std::string& what, const std::string& why);
    Next damaged(Lsn lsn, const std::string& why);
    Next ended(const std::string& why);
    void applied(const FrameHeader& frame, bool is_record);
    void tell();
    void set_state(ReplayStatus::State state, std::string error);

    Journal& spool_;
    AppliedState& state_;
    Applier& applier_;
    Brake& brake_;
    const std::function<void()> on_progress_;
    const JudgeFailure judge_;
    ApplyCrew* const crew_;
    Wave wave_;
    Lsn alone_until_;                  // records before it are no wave
    std::optional<Lsn> failed_ahead_;  // a record that failed in a wave, and was not tried again yet
    ReplayGates gates_;
    JournalListener listener_;
    std::atomic<bool> stop_{false};
    std::thread thread_;

    std::atomic<std::uint64_t> records_{0}, bytes_{0}, skipped_{0}, retries_{0}, soft_errors_{0}, hard_errors_{0};
    std::uint64_t published_ns_ = 0;
    bool files_may_be_open_ = false;
    std::string stalled_text_;    // empty: not stalled
    std::uint32_t pause_ms_ = 0;  // the last one

    mutable std::mutex mutex_;  // guards:
    ReplayStatus::State shown_ = ReplayStatus::State::kStopped;
    std::string error_;
};

}  // namespace tdfs

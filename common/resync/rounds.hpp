// The rounds of one resync on the master's side: follows the journal, says after each round what the next one is about,
// and holds the writers for the last one.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "common/resync/answers.hpp"
#include "common/resync/hold.hpp"
#include "common/resync/source.hpp"
#include "common/resync/touched.hpp"

namespace tdfs {

// Invariant: whatever changed since construction, or was recorded from `since` on before, and was not yet given out by next() stands in `touched_` or in the
// journal from the reader's position on. What changed after a round was given out comes in the next one, so a path may
// change while the sink reads it.
//
// Used by one thread; everything referred to outlives it. The destructor releases a hold.
class Rounds {
  public:
    Rounds(const BackingDir& dir, Journal& journal, std::optional<Lsn> since, Epoch epoch, WriterHold& writers,
           const ResyncLimits& limits);

    // Reads on in the journal, a bounded piece. True: up to its tail. Called now and then during a round too, so that
    // retention need not wait for slow rounds.
    Answer<bool> follow();

    struct Round {
        bool last = false;
        bool links = false;
        bool search = false;  // for objects under names that only the sink's lists can tell
        std::vector<TouchedPath> paths;
    };
    // The sink is through with a round. True: that was the last one, and writers were held all the while: finished()
    // says from where the stream goes on. False: next() is to be asked once follow() has reached the tail.
    bool end_hold();
    Answer<Round> next();

    [[nodiscard]] std::optional<Position> finished() const { return finished_; }
    [[nodiscard]] double hold_ms() const { return hold_ms_; }

  private:
    enum class Read { kMore, kTail };
    Answer<Read> read_one();
    void lose();
    void take(Round& round);
    [[nodiscard]] bool is_small(const Round& round) const;

    const BackingDir dir_;
    Journal& journal_;
    const Epoch epoch_;
    WriterHold& writers_;
    const ResyncLimits limits_;
    const bool from_before_;  // the first stretch begins before the resync
    JournalReader reader_;
    TouchedPaths touched_;
    Bytes scratch_;
    std::uint32_t rounds_ = 0;
    std::uint64_t began_ns_;  // the round that the sink is at
    std::optional<TimedHold> hold_;
    std::optional<Position> finished_;
    double hold_ms_ = 0;
};

}  // namespace tdfs

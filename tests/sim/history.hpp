// What the master has done, frame by frame, as the simulator has read it from the files of its journal.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proto/frame.hpp"
#include "proto/ids.hpp"
#include "tests/sim/tree.hpp"

namespace tdfs::sim {

// Whole frames that follow one another in the segment files of `dir` from `from` on: calls `visit(bytes)` for each.
// Returns where the first one is missing.
Lsn scan_frames(const std::string& dir, Lsn from, const std::function<void(const FrameView&)>& visit);
[[nodiscard]] std::optional<Lsn> oldest_frame(const std::string& dir);  // nullopt: no segment

// All of it, also what the master has dropped or lost since: lsn are never used twice. Knows the tree at each position.
class History {
  public:
    struct Frame {
        Lsn begin, end;
        Bytes payload;  // of a record; empty: nothing happened there
    };
    // A tree on its way through history.
    struct Cursor {
        Tree tree;
        Lsn at;
    };

    void begin(Lsn first, Tree base);  // an epoch
    // Reads what the journal has got since. The text says what is wrong with it.
    [[nodiscard]] std::string pull(const std::string& dir);

    [[nodiscard]] Lsn end() const { return end_; }
    [[nodiscard]] const Frame* at(Lsn begin) const;  // null: no frame begins there
    [[nodiscard]] std::string advance(Cursor& cursor, Lsn to) const;
    [[nodiscard]] Cursor cursor_at(Lsn at) const;
    // The paths that records from `from` on name. `moved`: and what is beneath has another path since.
    struct Touched {
        std::string path;
        bool moved = false;
    };
    [[nodiscard]] std::vector<Touched> touched_since(Lsn from) const;

  private:
    std::deque<Frame> frames_;
    std::map<Lsn, Tree> bases_;
    Lsn end_;
    Lsn segment_;  // where end_ lay when it was read last
};

}  // namespace tdfs::sim

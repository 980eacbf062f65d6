// Paths to be repaired because a record about them did not apply: a foreign hand had changed the replica, or it failed and is parked.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "proto/inspect.hpp"
#include "slave/applier.hpp"

namespace tdfs {

// Invariant: a record is left out only after what it names stands in the file `repairs` of the state directory, and a
// name leaves that file only after an inspection that began later has made it equal. So a replica with names in it
// knows that it is no prefix of the master's history, also after a kill; from `since` on nothing is claimed.
//
// judge() is called by the replay thread, the others by any. Owned by the replica; `dir` outlives it.
class Healer {
  public:
    static constexpr std::size_t kMaxPaths = 4000;  // above, the replica is compared as a whole

    static constexpr std::size_t kMaxNamed = 8;  // in a status line

    // `tolerate`: as many names may stand to be repaired before a record that failed for another reason than a foreign
    // change stalls the replay (--tolerate).
    explicit Healer(int dir, std::size_t tolerate = 0) : dir_(dir), tolerate_(tolerate) {}
    // What an earlier process left to be repaired. The error: that is not known, so everything has to be compared.
    Result<void, std::string> load();

    // kRetry: the failure is not of the kind that a repair mends (no space, a broken disk, ...) and no more of it is
    // tolerated. kResync: there are too many names already. A repair needs the replay to get to the position that it
    // is about, so waiting for one here would be for ever.
    Verdict judge(const Record& r, Lsn lsn, const ApplyError& error);

    [[nodiscard]] static std::vector<std::string> names_of(const Record& r);
    // Whether this name stands to be repaired. Any thread.
    [[nodiscard]] bool has(const std::string& path) const;

    // What is to be repaired now; nothing: nothing is, or it is under way, or it is too soon to try again.
    std::optional<InspectStart> order(std::uint64_t now_ns);
    // How the last order ended; not empty: why it is to be tried again.
    void finished(const std::string& problem, std::uint64_t now_ns);
    void clear();  // a resync makes everything equal

    // From here on nothing is claimed; nothing: nothing is to be repaired. Cheap.
    [[nodiscard]] std::optional<Lsn> since() const;

    struct Status {
        std::vector<std::string> paths;
        std::string text;  // one line; empty: nothing is to be repaired
    };
    [[nodiscard]] Status status() const;

  private:
    bool save();  // needs mutex_

    const int dir_;
    const std::size_t tolerate_;
    mutable std::mutex mutex_;                    // guards:
    std::map<std::string, std::uint64_t> paths_;  // with the order they came after
    Lsn since_;
    std::uint64_t orders_ = 0;
    bool ordered_ = false;
    std::uint64_t not_before_ns_ = 0;
    std::uint64_t pause_ns_ = 0;
    std::string problem_;
};

}  // namespace tdfs

// Objects of the replica against what the master showed of them at the very lsn at which the replica stands.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/resync/local_tree.hpp"
#include "proto/inspect.hpp"

namespace tdfs {

// How the local object differs from the master's in what needs no content. Size counts for regular files only; times
// only where `settled`.
[[nodiscard]] std::uint32_t metadata_difference(const Entry& master, const Entry& local, bool settled);

struct ExactItem {
    std::string path;
    std::vector<std::uint64_t> blocks;  // offsets, as they were asked for
    LookedItem master;
    // The next item is another name, and the question is whether both are one object.
    bool pair = false;
    bool own = false;  // what differs may be the daemon's own work that stayed behind
};
struct ExactResult {
    std::uint32_t kinds = 0;  // what was different
    bool healed = false;      // and is not any more
    bool made = false;        // a directory, or a file whose content is still to come
    bool no_place = false;    // its directory is missing
    std::uint64_t ino = 0;    // of the local object now; 0: there is none
    std::string detail;       // why it could not be read or healed
};

// One look, from the answer to its results. Filled in by the session's thread, carried out by the one that replays;
// `done` hands it back.
struct ExactStep {
    Lsn lsn;
    bool repair = false;
    std::vector<ExactItem> items;
    std::vector<ExactResult> results;
    std::atomic<bool> done{false};
    std::atomic<bool> missed{false};     // the replay stood beyond `lsn` already: it will not be carried out
    std::atomic<bool> cancelled{false};  // before it began: it will not
};

// Compares, and heals with `repair`, each item of a step. Invariant: after a healed result the object is, as far as it
// was shown, as the master's was at the step's lsn; so what the journal says from there on applies to it exactly. A
// process killed in between leaves a difference, never a wrong position.
//
// The replica must stand at the step's lsn and nothing else may change it meanwhile. Not thread-safe; lives for one
// step. `root` outlives it, and `salvage`, which keeps what a repair overwrites.
class ExactTree {
  public:
    explicit ExactTree(int root, Salvage* salvage = nullptr);
    // True: names or contents were changed.
    bool run(ExactStep& step);

  private:
    ExactResult one(const ExactItem& item);
    ExactResult extra(const Spot& at, const Entry& local);
    void links(ExactItem& item, ExactItem& other, ExactResult& result);
    void relink(const Spot& one, const Spot& other, const Entry& is, const Entry& other_is, ExactResult& result);
    void make(const ExactItem& item, const Spot& at, bool directory_in_the_way, ExactResult& result);
    void make_file(const ExactItem& item, const Spot& at, ExactResult& result);
    void heal(const ExactItem& item, const Spot& at, ExactResult& result);
    std::uint32_t content(const ExactItem& item, int fd, std::uint64_t size, ExactResult& result);
    Result<OwnFd, std::string> open_content(const Spot& at, bool write);
    bool prepared(ExactResult& result);
    bool keep(const Spot& at, const FileInfo& is, const ExactResult& found, std::string& detail);
    template <class Outcome>
    static bool good(const Outcome& outcome, ExactResult& result);
    template <class Outcome>
    static bool good(const Outcome& outcome, const char* what, const std::string& path, ExactResult& result);

    const int root_;
    Salvage* const salvage_;
    std::uint64_t device_ = 0;
    LocalTree tree_;
    bool repair_ = false;
    bool prepared_ = false;
    bool changed_ = false;
};

}  // namespace tdfs

// One master and its slaves under faults, and what must hold at every moment.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/session.hpp"
#include "slave/applied_state.hpp"
#include "tests/sim/history.hpp"
#include "tests/sim/world.hpp"

namespace tdfs::sim {

// What the director keeps for one process.
struct Node {
    int id = 0;
    bool stop_asked = false;
    std::uint64_t start_at = kNever;  // when it is to run again
    std::uint64_t boots = 0;
    std::function<bool()> is_halted;  // of this run: it waits for somebody to restart it

    // A slave's: what it is, and what it has said.
    AppliedState* state = nullptr;           // of this run, once it has moved
    std::optional<History::Cursor> applied;  // the tree it must have now
    std::optional<History::Cursor>
        before_cut;                 // the same before a power cut: it had stopped in order if it goes on there
    bool look_owed = false;         // at its tree, when it is a prefix again
    Lsn said_durable;               // to the master
    std::optional<Lsn> checkpoint;  // what is applied up to there is said to be on the disk
};

// A file whose fsync, and that of all directories above it, returned.
struct SyncedFile {
    std::string path;
    Lsn since;
    Object object;
};

// The run itself: starts and ends processes, brings faults over them, checks promises as they are made (called from the
// daemons' own code, see wrap_promises.cpp) and after each power cut, and at the end heals everything and waits until
// all trees are the same. A broken promise ends the run.
class Cluster {
  public:
    explicit Cluster(World& world, const std::string& dir);
    void run();

    // From the slaves' code.
    void applying(AppliedState& state, Lsn end);  // is about to move its position there
    void wait_for_storage(Lsn record);            // before the record's effect
    void resynced(Lsn at);                        // says that its tree is the master's at this position
    void resync_begins();
    void acknowledges(const Ack& ack);
    void checkpointed(Lsn at);
    [[nodiscard]] Lsn end_of_frame(Lsn begin) const;  // for a built-in fault; `begin` where there is none

    // From the master's threads.
    void reserved(Lsn end) { reserved_ = end; }  // a record has its place in the journal, which ends there
    void master_opened(Lsn first, Lsn tail);     // recovery is through; `first`: of the epoch
    void operation_done();                       // but the settler may be at work
    void synced(const std::string& path);
    // Paths that the operation under way may be about; begin_operation() forgets those of the earlier ones, unless
    // history does not show yet what they did.
    void begin_operation() {
        if (history_is_complete()) busy_.clear();
    }
    void works_on(const std::string& path) { busy_.push_back(path); }
    [[nodiscard]] const Tree& tree() const { return master_.tree; }
    [[nodiscard]] bool wants_work() const { return working_; }

    World& world() { return world_; }
    Node& node(int id) { return nodes_[static_cast<std::size_t>(id)]; }
    [[nodiscard]] std::size_t slaves() const { return nodes_.size() - 1; }
    [[nodiscard]] std::uint64_t retain_bytes() const { return retain_bytes_; }
    // Whether slaves have slow disks, and now and then workers for it, how many is decided at each start.
    [[nodiscard]] bool slow_storage() const { return slow_storage_; }
    // Whether the master leaves it to others to sync its journal.
    [[nodiscard]] bool late_journal() const { return late_journal_; }
    [[nodiscard]] const std::string& base() const { return dir_; }

    static std::string host(int id) { return "slave" + std::to_string(id); }

  private:
    void start(Node& node);
    void look_after();  // those that ended, and those that are to start
    void power_cut(Process& p);
    static void goes_on(Node& slave, Lsn at);
    void check_fsynced(const Process& master);
    void check_checkpoint(const Process& slave, Node& node);
    void check_spool(const Process& slave, const Node& node);
    void untouched(const Process& p, const Tree& was, Lsn since, const std::string& only, const std::string& promise);
    void bring_fault();
    void bring_bad_spell();
    void heal();
    void until_equal();
    [[nodiscard]] bool is_equal();
    void check_trees();
    void pull();
    // Whether it shows all that was done. A thread that has a place in the journal and has not filled it yet hides what
    // others have done and recorded behind it.
    [[nodiscard]] bool history_is_complete() const { return history_.end() >= reserved_; }
    [[nodiscard]] std::string journal_dir(int id);

    World& world_;
    const std::string dir_;
    // Each in one seed out of four; by a number of its own, so that all others are as without.
    const bool slow_storage_, late_journal_;
    Random random_;
    History history_;
    History::Cursor master_;
    Lsn reserved_;
    std::optional<Lsn> epoch_first_;
    std::vector<Node> nodes_;
    std::vector<SyncedFile> synced_;
    std::vector<std::string> busy_;
    bool working_ = true;
    std::uint64_t retain_bytes_;
    std::uint64_t faults_ = 0;
    Random spells_, outages_;  // streams of their own, so that all else is as it would be without them
    std::uint64_t spell_at_ = kNever;
};

// The fibers that run the daemons' wiring (as main.cpp of each does). They return when the daemon ends in order.
void run_master(Cluster& cluster, Process& p);
void run_slave(Cluster& cluster, Process& p);

extern Cluster* the_cluster;  // NOLINT(*-non-const-global-variables): as World

}  // namespace tdfs::sim

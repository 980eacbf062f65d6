// The replica: what the subscriber hands over is kept in the spool and replayed on the directory.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/daemon/state_dir.hpp"
#include "common/journal/journal.hpp"
#include "common/os/fd.hpp"
#include "common/resync/inspect_desk.hpp"
#include "common/resync/salvage.hpp"
#include "common/resync/sink.hpp"
#include "common/stream/inspect_job.hpp"
#include "common/stream/subscriber.hpp"
#include "slave/activity.hpp"
#include "slave/applied_state.hpp"
#include "slave/applier.hpp"
#include "slave/apply_crew.hpp"
#include "slave/brake.hpp"
#include "slave/checkpointer.hpp"
#include "slave/healer.hpp"
#include "slave/replayer.hpp"
#include "slave/spool_syncer.hpp"

namespace tdfs {

struct ReplicaOptions {
    std::string name;                              // of this machine and directory, told to the master
    std::uint64_t spool_limit_bytes = 4ull << 30;  // of what is received and not applied
    JournalOptions spool;
    CheckpointOptions checkpoints;
    ApplyOptions apply;
    unsigned apply_workers = 1;  // more: see Wave
    std::optional<DeleteLimit> delete_limit;
    std::size_t tolerate = 0;  // names; see Healer
    KeepLimits keep;           // of what somebody else changed in the replica; nothing unless told
    bool heal = false;  // records that a foreign change stands against are left out, and what they name is repaired
};

// What status shows.
struct ReplicaStatus {
    ReplicaState state = ReplicaState::kFresh;
    std::string error;
    VolumeId volume;
    Epoch epoch;
    Lsn oldest, received, durable, checkpoint;
    AppliedPoint applied;
    Lsn master_tail;                   // as last heard
    std::uint64_t master_time_ns = 0;  // when it said so, by its clock
    std::uint64_t spool_bytes = 0;
    std::uint64_t spool_syncs = 0;
    ReplayStatus replay;
    unsigned apply_workers = 1;
    std::uint64_t resyncs = 0;
    std::string resync_reason;  // of the one under way, or the last one
    bool resync_full = false;
    Progress progress;            // of the one under way
    ResyncSink::Counts resynced;  // by it, or by the last one
    std::uint64_t soft_errors = 0, hard_errors = 0;
    Salvage::Total divergent;
    std::vector<std::string> repairs;  // names that stand to be repaired
};

// Modes: fresh (no volume yet), running (the tree is a prefix of the master's history), resyncing (it is not, and no
// position is known), damaged (it was running and cannot go on). From damaged only a resync leads on; that one is
// needed is saved before anything else, so it survives kills and power losses; so does that this resync has to compare all
// contents (`unsure`), because files may be other than their times say.
//
// Invariants: outside of mode running neither the replayer nor the checkpointer nor the syncer runs, and ack() claims no
// position; a resync changes nothing before `resyncing` is saved; `resyncing` is taken back after all of the resync is on the disk.
//
// Threads: ReplicaPort's calls come from the session thread, start() and stop() from main while there is no session;
// ack(), status() and wait_applied() from any. `root` and `state` outlive it.
class Replica : public ReplicaPort {
  public:
    // `root`: the replica directory, readable. Finds out how the last run ended.
    static Result<std::unique_ptr<Replica>, std::string> open(int root, StateDir& state, ReplicaOptions options);
    ~Replica() override;

    Result<void, std::string> start();  // replays what the spool holds
    // In order: what is applied stays applied, and the next start resumes there, also after a reboot.
    Result<void, std::string> stop();

    Result<Welcome, std::string> welcome(const Hello& hello) override;
    Result<void, std::string> resume(const Hello& hello, const Resume& from) override;
    Result<void, std::string> receive(ByteView frames) override;
    [[nodiscard]] bool accepts() const override;  // false while the spool is full, or its disk
    std::unique_ptr<ResyncRequester> start_resync(const Hello& hello, const ResyncStart& start) override;
    [[nodiscard]] InspectPort* inspections() override;
    void heartbeat(Lsn master_tail, std::uint64_t master_time_ns) override;
    [[nodiscard]] Ack ack() const override;
    [[nodiscard]] int ack_event() const override { return event_.get(); }

    [[nodiscard]] ReplicaStatus status() const;
    // An inspection that was ordered here; it begins once the stream stands. Any thread.
    std::shared_ptr<InspectJob> inspect(InspectStart order);
    // Waits until everything before `at` is applied. kUnknown: the deadline came, and no master has told of such an
    // epoch.
    enum class Waited { kApplied, kTimedOut, kUnknown, kCancelled };
    Waited wait_applied(const Position& at, std::chrono::milliseconds timeout, const std::function<bool()>& cancelled);
    [[nodiscard]] Journal& spool() { return *spool_; }
    // Nothing is applied until resume(), receiving goes on; of a resync nothing is carried out. See Brake.
    Result<void, std::string> pause() { return brake_->pause(); }
    Result<void, std::string> resume_applying() { return brake_->resume(spool_->tail()); }

  private:
    enum class Mode { kFresh, kRunning, kResyncing, kDamaged };
    struct Shown {
        ReplicaState state;
        std::string error;
    };

    Replica(int root, StateDir& state, ReplicaOptions options);
    Result<void, std::string> look_back();  // decides the mode at the start
    Result<void, std::string> open_salvage();
    void start_threads();
    void stop_threads();
    [[nodiscard]] std::string damage_found(bool same_boot) const;  // "" where the replay can go on
    void progressed();
    void replayed();
    void failed(const std::string& text);
    void distrust_content();
    Result<void, std::string> make_durable(const char* at);
    [[nodiscard]] bool is_unsure() const;  // needs mutex_
    Result<void, std::string> begin_resync(const Hello& hello, const ResyncStart& start);
    Result<void, std::string> end_resync(const Hello& hello, Lsn at);
    void resync_failed(const std::string& why);
    Result<void, std::string> empty_stage();
    [[nodiscard]] std::uint64_t unapplied_bytes() const;
    [[nodiscard]] bool has_room() const;
    [[nodiscard]] Shown shown() const;                 // needs mutex_
    [[nodiscard]] Lsn exact_until(Lsn applied) const;  // as far as the replica is a prefix
    [[nodiscard]] Epoch epoch_of(Lsn lsn) const;       // needs mutex_
    Result<void, std::string> change_identity(const std::function<void(Identity&)>& change);

    const int root_;
    StateDir& state_dir_;
    const ReplicaOptions options_;
    OwnFd event_;
    std::unique_ptr<ActivityLog> activity_;  // none where nothing is kept; so is salvage_
    std::unique_ptr<Salvage> salvage_;
    std::unique_ptr<AppliedState> applied_;
    std::unique_ptr<Journal> spool_;
    std::unique_ptr<Brake> brake_;
    Healer healer_;
    std::unique_ptr<Applier> applier_;
    std::unique_ptr<ApplyCrew> crew_;  // none where there is one worker
    std::unique_ptr<Replayer> replayer_;
    std::unique_ptr<SpoolSyncer> syncer_;
    std::unique_ptr<Checkpointer> checkpointer_;

    std::uint64_t spool_leaves_bytes_ = 0;      // free on its disk, for the replay of what it holds
    mutable std::atomic<bool> no_room_{false};  // for the spool to grow

    std::atomic<bool> stopping_{false};
    std::atomic<std::uint64_t> master_tail_{0}, master_time_ns_{0};

    class Inspections;
    std::unique_ptr<Inspections> inspections_;

    mutable std::mutex mutex_;  // taken last, never held while a thread is stopped; guards:
    std::condition_variable progress_;
    Identity identity_;
    Mode mode_ = Mode::kFresh;
    std::string damage_;
    std::uint64_t resyncs_ = 0;
    std::string resync_reason_;
    bool resync_full_ = false;
    std::string resync_error_;  // why the last try was given up
    std::shared_ptr<ResyncSink> sink_;
};

}  // namespace tdfs

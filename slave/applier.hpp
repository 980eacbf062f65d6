// Applies records to the replica directory, one after the other, each exactly once.
#pragma once

#include <functional>
#include <string>

#include "common/resync/salvage.hpp"
#include "proto/errno.hpp"
#include "proto/record.hpp"
#include "slave/activity.hpp"
#include "slave/applied_state.hpp"
#include "slave/creator.hpp"
#include "slave/replica_tree.hpp"

namespace tdfs {

// Where a test may stop the process.
enum class ApplyStep { kNoted, kMade, kDone };

struct ApplyOptions {
    TreeLimits limits;
    std::function<void(ApplyStep)> at_step;  // empty in daemons
    // What the daemon changes is marked there, and what somebody else changed is kept. None: neither.
    ActivityLog* activity = nullptr;
    Salvage* salvage = nullptr;
    unsigned worker = 0;  // its place for notes in the applied state
};

// Why a record could not be applied: `operation` is a string literal. `refused`: no honest master sends such a record.
struct ApplyError {
    const char* operation = "";
    Errno error{0};
    bool refused = false;
    [[nodiscard]] std::string text() const;
};
using Applied = Result<void, ApplyError>;
// What becomes of it: tried again; left out, since what it names will be repaired; or everything is to be compared.
enum class Verdict { kRetry, kLeaveOut, kResync };
inline Unexpected<ApplyError> apply_error(const char* operation, Errno e) {
    return Unexpected<ApplyError>(ApplyError{operation, e, false});
}

// Invariant: after apply() succeeds, the tree differs from before by exactly the record's effect, also where an earlier
// process, or an earlier try of this one, was stopped anywhere inside apply() of the same record.
//
// Most records may simply be repeated. The others (create, link, unlink, rmdir, rename, exchange) note in the
// applied state that they are about to start, and where that does not tell enough, which inodes stand at the names. A
// record found noted is resolved by looking. A record that was not noted and meets another tree than it expects (a
// foreign change) fails, and may be tried again later.
//
// Used by one thread at a time, which it prepares for creating files (see Creator). `state` and `root` outlive it.
class Applier {
  public:
    Applier(int root, AppliedState& state, ApplyOptions options = {});

    SysResult<void> prepare() { return tree_.prepare_stage(); }
    Applied apply(const Record& r, Lsn lsn);
    // What is in the way of a record that failed as only a foreign change makes it fail: it is kept, since later records
    // could go into it. False: it cannot be kept.
    bool set_aside(const Record& r, const ApplyError& error);
    // Does not keep files open for writing: nothing comes for a while.
    void idle() { tree_.close_files(); }
    // Looks at every path anew: something other than the applier has changed the tree, or may have.
    void forget() { tree_.forget_all(); }
    // The same where another applier has given the name to something else, or has taken it away.
    void forget(std::string_view path) { tree_.removed(path); }

  private:
    Applied run(const CreateRecord& r);
    Applied run(const LinkRecord& r);
    Applied run(const UnlinkRecord& r);
    Applied run(const RmdirRecord& r);
    Applied run(const RenameRecord& r);
    Applied run(const WriteRecord& r);
    Applied run(const FallocateRecord& r);
    Applied run(const CopyRangeRecord& r);
    Applied run(const AttributesRecord& r);
    Applied run(const SetXattrRecord& r);
    Applied run(const RemoveXattrRecord& r);
    Applied run(const SyncRecord& r);

    // What somebody else has changed is kept before the daemon changes it: the daemon's own change would hide it for good.
    enum class Fate { kChanged, kGone };
    Applied keep(std::string_view path, Fate fate = Fate::kChanged);
    void complain(const std::string& why);
    Applied remove(std::string_view path, int flags, const char* operation);
    Applied exchange(const RenameRecord& r, const Place& from, const Place& to);
    SysResult<void> copy_range(const CopyRangeRecord& r, int from, int to);
    // The operation did not take place, so a later try must not take a foreign object for its effect.
    Unexpected<ApplyError> not_started(const char* operation, Errno error, bool tried);
    void note(const StartedNote& n);
    bool note_once();  // whether there was one already: the effect may have taken place
    void step(ApplyStep s) const {
        if (options_.at_step) options_.at_step(s);
    }

    const ApplyOptions options_;
    AppliedState& state_;
    ReplicaTree tree_;
    Creator creator_;
    Lsn lsn_;                 // of the record being applied
    std::string complained_;  // what was said last of something that cannot be kept
};

}  // namespace tdfs

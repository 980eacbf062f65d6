// The state directory of a volume (DIR/.tdfs or --state-dir): identity, lock, and small durable facts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/os/fd.hpp"
#include "proto/ids.hpp"
#include "proto/result.hpp"
#include "proto/session.hpp"

namespace tdfs {

enum class Role { kMaster, kSlave };
[[nodiscard]] const char* to_text(Role role);  // "master" or "slave"

// What is kept durably (identity.json in the state directory; replaced as a whole).
struct Identity {
    Role role = Role::kMaster;
    VolumeId volume;                  // slave: all zero until its first master came
    std::vector<EpochStart> history;  // master: its own; slave: of the master, as last heard
    bool has_content = false;         // master: the directory held something when last looked at
    bool clean_stop = false;          // cleared while a daemon runs
    std::string boot;                 // boot id of the run that wrote this
    bool resyncing = false;           // slave: a resync was begun and is not through
    Lsn resync_since;                 // slave: the tail of the master's journal when it began
    Lsn resync_end;                   // slave: where the spool begins after the last resync
    bool unsure = false;              // slave: that resync has to compare contents, whatever times and sizes say;
                                      // master: a sync may have failed in this boot
    Lsn intact_until;                 // slave, else: only of what was recorded later (0: of nothing)
};

// Invariant: at most one daemon holds it and DIR (flock on a file `lock` in each, so a killed daemon leaves nothing
// behind). Owned by main. Not thread-safe except fd() and marker_fd().
class StateDir {
  public:
    // Opens (creating, mode 0700) `DIR/.tdfs`, and the state directory itself if it is elsewhere; takes the lock. The
    // error text is one line: what, where, what to do. `dir` is an open descriptor of DIR, dir_name its name for
    // messages. DIR/.tdfs always exists, and from the first save() on holds `volume` ("volume UUID role\n"), also when
    // the state is elsewhere. Where anything does not fit (another volume, another role, DIR without its marker)
    // nothing is changed.
    static Result<std::unique_ptr<StateDir>, std::string> open(int dir, const std::string& dir_name,
                                                               const std::string& state_dir, Role role);
    [[nodiscard]] int fd() const { return fd_.get(); }             // the state directory
    [[nodiscard]] int marker_fd() const { return marker_.get(); }  // DIR/.tdfs
    [[nodiscard]] bool is_new() const { return is_new_; }          // there was no identity yet
    [[nodiscard]] const Identity& identity() const { return identity_; }
    // What was found damaged and could be made good, for the log: one line each. An identity that is made up from the
    // marker has no history and no boot id, and its replica is to be resynced.
    [[nodiscard]] const std::vector<std::string>& healed() const { return healed_; }
    Result<void, std::string> save(const Identity& identity);  // durable when it returns

  private:
    StateDir() = default;
    OwnFd fd_, marker_;
    OwnFd lock_, marker_lock_;  // the second one only where the state is elsewhere
    bool is_new_ = true;
    bool marked_ = false;  // DIR/.tdfs/volume holds what identity_ says
    Identity identity_;
    std::string name_;  // of the state directory, for messages
    std::vector<std::string> healed_;
};

}  // namespace tdfs

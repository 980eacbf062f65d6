// A master's volume: its directory, state and journal, opened and brought in order.
#pragma once

#include <memory>
#include <string>

#include "common/daemon/state_dir.hpp"
#include "common/journal/journal.hpp"
#include "common/os/fd.hpp"
#include "master/cover.hpp"
#include "master/options.hpp"

namespace tdfs {

// Opening carries out the start-up rules:
//   - guards first, and nothing is changed when one refuses;
//   - a killed process: what was in flight is resolved, history goes on in the same epoch;
//   - state or journal damaged or lost: what slaves may have read cannot be told, so history begins anew in a new epoch;
//   - a machine that went down without a clean stop: the journal's tail and the directory may disagree, so history
//     begins anew in a new epoch, and every slave is resynced.
//
// Owned by main; not thread-safe except where said.
class Volume {
  public:
    // The error text is one line for people.
    static Result<std::unique_ptr<Volume>, std::string> open(const MasterOptions& options);

    [[nodiscard]] int root() const { return root_.get(); }
    [[nodiscard]] const std::string& directory() const { return directory_; }    // canonical
    [[nodiscard]] const std::string& mountpoint() const { return mountpoint_; }  // canonical
    [[nodiscard]] bool mount_covers_directory() const { return covers_; }
    [[nodiscard]] StateDir& state() { return *state_; }
    [[nodiscard]] Journal& journal() { return *journal_; }
    [[nodiscard]] Epoch epoch() const { return epoch_; }  // any thread
    // What the journal leaves free of its disk: as asked for, or 64 MiB, or 1 % of a small disk.
    [[nodiscard]] std::uint64_t reserve_bytes() const { return reserve_bytes_; }
    // What stood in the journal when history went on was written by a process that was killed: modification times may be
    // unsettled.
    [[nodiscard]] bool was_killed() const { return was_killed_; }
    // Than that of the last run, if there was one.
    [[nodiscard]] bool is_another_boot() const { return is_another_boot_; }

    // Whether the directory holds anything, kept durably for the guard against an unmounted directory. One thread.
    void note_content();
    // Slaves are resynced, for a reason in words. While nobody else uses the journal.
    Result<void, std::string> begin_epoch(const std::string& why);
    Result<void, std::string> close();  // the stop is clean

  private:
    Volume() = default;
    Result<void, std::string> check_places(const MasterOptions& options);
    Result<void, std::string> open_root();
    Result<void, std::string> check_content(const MasterOptions& options);
    Result<void, std::string> open_journal(const MasterOptions& options);
    Result<void, std::string> begin_epoch(Identity& identity, const std::string& why);

    Cover cover_;
    OwnFd tree_;  // of root_, where that had to be opened beneath a cover
    OwnFd root_;
    std::string directory_, mountpoint_;
    bool covers_ = false;
    bool was_killed_ = false;
    bool is_another_boot_ = false;
    bool was_unsure_ = false;  // a sync may have failed in this boot, before this run
    std::uint64_t reserve_bytes_ = 0;
    Epoch epoch_;
    std::unique_ptr<StateDir> state_;
    std::unique_ptr<Journal> journal_;
};

}  // namespace tdfs

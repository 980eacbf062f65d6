// A spool and what replays it, for the tests of the threads of a slave.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/journal/journal.hpp"
#include "slave/checkpointer.hpp"
#include "slave/replayer.hpp"
#include "tests/unit/slave/fixture.hpp"

namespace tdfs::test {

// Waits until `holds` does; fails the test after a minute (which says that something hangs, not how fast it is).
void wait_until(const std::function<bool()>& holds);

// The records as frames from `first` on, in one piece.
Bytes frames_of(const std::vector<Bytes>& records, Lsn first, bool compress = true);
Bytes frame_of(const Record& r, Lsn at);

// Small segments, so that tests see several.
JournalOptions small_spool();
std::unique_ptr<Journal> open_spool(int state_dir, Lsn first = Lsn(0));

// One run of a daemon's replay: spool, state, applier and replayer on a replica directory.
class ReplayBench {
  public:
    ReplayBench(const std::string& root, const std::string& state_dir, ApplyOptions options = {},
                const std::optional<DeleteLimit>& limit = {}, unsigned workers = 1);
    ~ReplayBench();
    Journal& spool() { return *spool_; }
    AppliedState& state() { return *state_; }
    Replayer& replayer() { return *replayer_; }
    Brake& brake() { return *brake_; }
    [[nodiscard]] int root_fd() const { return root_fd_.get(); }
    void receive(const Record& r);
    void receive(const std::vector<Bytes>& records);
    void wait_applied();  // all that the spool holds
    [[nodiscard]] int told() const { return told_; }

  private:
    OwnFd root_fd_, state_fd_;
    std::unique_ptr<AppliedState> state_;
    std::unique_ptr<Journal> spool_;
    std::unique_ptr<Applier> applier_;
    std::unique_ptr<ApplyCrew> crew_;
    std::unique_ptr<Brake> brake_;
    std::atomic<int> told_{0};
    std::unique_ptr<Replayer> replayer_;
};

}  // namespace tdfs::test

// ext4 on a disk whose writes are recorded, and what a power cut leaves of it.
#pragma once

#include <string>

#include "tests/e2e/harness/process.hpp"
#include "tests/faults/recorder/recording.hpp"

namespace tdfs::faults {

// Whether loop devices and ext4 can be had here; if not, says so.
bool have_loop_disks();

// A disk is recorded from its mkfs on while it is mounted on `place`; then its moments are mounted there, one at a time. The
// loop device of each goes with its mount, also when the mount is taken away by somebody else (e2e::Scratch).
//
// Files are kept in `ram`, a directory below a Scratch. Whatever goes wrong is thrown as std::runtime_error. Used by the
// test's main thread.
class RecordedDisk {
  public:
    RecordedDisk(const std::string& ram, const std::string& name, std::string place);
    ~RecordedDisk();
    RecordedDisk(const RecordedDisk&) = delete;
    RecordedDisk& operator=(const RecordedDisk&) = delete;

    // Everything written to the file system is on the disk when it returns.
    void sync() const;
    // The recording is over. Nobody may use the mount any more.
    void end();
    // Afterwards.
    [[nodiscard]] MomentNs some_entry(MomentNs from, MomentNs to, std::mt19937_64& random) const {
        return faults::some_entry(log_, from, to, random);
    }
    // A moment replaces the one before.
    Image mount_moment(MomentNs moment, const Loss& loss);
    void unmount();

  private:
    void mount(const std::string& file);

    const std::string recorder_place_, log_, image_, place_;
    e2e::Process recorder_;
    bool mounted_ = false;
};

}  // namespace tdfs::faults

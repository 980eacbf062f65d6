#include "tests/faults/support/recorded_disk.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "tests/faults/recorder/log.hpp"
#include "tests/support/programs.hpp"

namespace tdfs::faults {
namespace {

constexpr std::uint64_t kDiskBytes = 512ull << 20;

std::system_error failed(const std::string& what) { return {errno, std::generic_category(), what}; }

void must(const e2e::Words& command) {
    const e2e::Ran ran = e2e::run(command);
    if (ran.status != 0) {
        throw std::runtime_error(command.front() + " ended with " + std::to_string(ran.status) + ": " + ran.err);
    }
}

// A tool of the tests: never of the build that TDFS_PROGRAMS names.
std::string recorder_program() { return test::built_programs() + "/tests/disk_recorder"; }

}  // namespace

bool have_loop_disks() {
    const bool have = access("/dev/loop-control", R_OK | W_OK) == 0 && e2e::have_tool("mkfs.ext4") &&
                      e2e::run({"sh", "-c", "losetup -f >/dev/null"}).status == 0;
    if (!have) {
        std::cout << "no loop devices or no mkfs.ext4 here: no power cuts" << std::endl;
    }
    return have;
}

RecordedDisk::RecordedDisk(const std::string& ram, const std::string& name, std::string place)
    : recorder_place_(ram + "/" + name + ".recorder"),
      log_(ram + "/" + name + ".log"),
      image_(ram + "/" + name + ".image"),
      place_(std::move(place)) {
    if (mkdir(recorder_place_.c_str(), 0700) != 0) {
        throw failed(recorder_place_);
    }
    const std::string disk = recorder_place_ + "/" + kDiskName;
    recorder_ = e2e::Process::start({recorder_program(), recorder_place_, std::to_string(kDiskBytes), log_},
                                    ram + "/" + name + ".messages");
    if (!e2e::eventually([&] { return access(disk.c_str(), F_OK) == 0 || !recorder_.running(); }) ||
        !recorder_.running()) {
        throw std::runtime_error("the disk does not come up: " + e2e::read_file(ram + "/" + name + ".messages"));
    }
    // Everything is written now: nothing of the file system's making goes on later in the background.
    must({"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", disk});
    mount(disk);
}

RecordedDisk::~RecordedDisk() {
    if (mounted_) {
        umount2(place_.c_str(), MNT_DETACH);
    }
    umount2(recorder_place_.c_str(), MNT_DETACH);
    recorder_.kill();
}

void RecordedDisk::mount(const std::string& file) {
    must({"mount", "-t", "ext4", "-o", "loop", file, place_});  // such a loop device ends with its last user
    mounted_ = true;
}

void RecordedDisk::sync() const {
    const int fd = open(place_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool done = fd >= 0 && syncfs(fd) == 0;
    const int error = errno;
    close(fd);
    if (!done) {
        errno = error;
        throw failed("syncfs " + place_);
    }
}

void RecordedDisk::unmount() {
    // Whoever was killed a moment ago may still be about to let go.
    if (!mounted_ || !e2e::eventually([&] { return umount2(place_.c_str(), 0) == 0 || errno != EBUSY; })) {
        throw std::runtime_error(place_ + " is in use, or not mounted");
    }
    mounted_ = false;
}

// Other namespaces on this machine may hold copies of our mounts for a while, and with them the loop device: the recorder
// goes on until they are gone, or until this object is. The log has all it needs.
void RecordedDisk::end() {
    unmount();
    if (umount2(recorder_place_.c_str(), MNT_DETACH) != 0) {
        throw failed("umount " + recorder_place_);
    }
}

Image RecordedDisk::mount_moment(MomentNs moment, const Loss& loss) {
    if (mounted_) {
        unmount();
    }
    if (unlink(image_.c_str()) != 0 && errno != ENOENT) {
        throw failed(image_);
    }
    const Image made = make_image(log_, moment, loss, image_, kDiskBytes);
    mount(image_);
    return made;
}

}  // namespace tdfs::faults

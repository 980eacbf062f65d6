#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <string>

#include "common/os/fd.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

namespace tdfs::test {

// A small file system of a test's own. It lives in a mount namespace of this process, so that it goes with the process
// however that ends.
class SmallDisk {
  public:
    explicit SmallDisk(const std::string& size) {
        if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("none", dir_.path().c_str(), "tmpfs", 0, ("size=" + size).c_str()) != 0) {
            return;  // not allowed here
        }
        fd_ = OwnFd(::open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        REQUIRE(fd_);
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;
    ~SmallDisk() {
        if (fd_) ::umount2(dir_.path().c_str(), MNT_DETACH);
    }

    [[nodiscard]] bool mounted() const {
        if (!fd_) WARN("mounting is not allowed here: skipped");
        return static_cast<bool>(fd_);
    }
    [[nodiscard]] int fd() const { return fd_.get(); }

    // Takes all space that is left, or gives it back.
    void fill() {
        ballast_ = OwnFd(::openat(fd(), "ballast", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        REQUIRE(ballast_);
        const std::string page(4096, 'b');
        while (::write(ballast_.get(), page.data(), page.size()) > 0) {
        }
    }
    void free() { REQUIRE(::ftruncate(ballast_.get(), 0) == 0); }

  private:
    TempDir dir_;
    OwnFd fd_;
    OwnFd ballast_;
};

}  // namespace tdfs::test

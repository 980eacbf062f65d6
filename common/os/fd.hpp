// OwnFd: the one owner of a file descriptor. Move-only.
#pragma once

#include <unistd.h>

#include <utility>

namespace tdfs {

class OwnFd {
  public:
    OwnFd() = default;
    explicit OwnFd(int fd) : fd_(fd) {}
    OwnFd(OwnFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    OwnFd& operator=(OwnFd&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    ~OwnFd() { reset(); }

    [[nodiscard]] int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    void reset(int fd = -1) {
        if (fd_ >= 0) ::close(fd_);  // only read-only or already synced descriptors: nothing to learn from its error
        fd_ = fd;
    }

  private:
    int fd_ = -1;
};

}  // namespace tdfs

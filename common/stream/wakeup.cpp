#include "common/stream/wakeup.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "proto/result.hpp"

namespace tdfs {

Wakeup::Wakeup() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    TDFS_INVARIANT(event_, "no descriptor left for an eventfd");
}

void Wakeup::wake() { wake_event(event_.get()); }

void Wakeup::drain() { drain_event(event_.get()); }

void wake_event(int fd) {
    const std::uint64_t one = 1;
    while (::write(fd, &one, sizeof one) < 0 && errno == EINTR) {
    }  // EAGAIN: the counter is full, so it is readable already
}

void drain_event(int fd) {
    std::uint64_t count = 0;
    while (::read(fd, &count, sizeof count) < 0 && errno == EINTR) {
    }  // EAGAIN: somebody else was faster, and it is empty
}

}  // namespace tdfs

#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>

#include "common/journal/journal.hpp"
#include "common/os/retry.hpp"

namespace tdfs {

// The two sides meet without a lock: arm() stores `armed_` and then its caller loads the tail; a commit stores the tail
// and then loads `armed_`. All four are sequentially consistent, so one of the two sees the other.

JournalListener::JournalListener() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!event_) throw std::system_error(errno, std::generic_category(), "eventfd of a journal's listener");
}

JournalListener::~JournalListener() = default;

void JournalListener::arm() { armed_ = true; }

void JournalListener::disarm() {
    armed_ = false;
    std::uint64_t count = 0;
    // EAGAIN: nobody has woken us.
    [[maybe_unused]] const auto ignored = retry_interrupted([&] { return ::read(fd(), &count, sizeof count); });
}

void JournalListener::wake() {
    const std::uint64_t one = 1;
    // EAGAIN: 2^64 - 2 wakes nobody has drained; it is readable.
    [[maybe_unused]] const auto ignored = retry_interrupted([&] { return ::write(fd(), &one, sizeof one); });
}

}  // namespace tdfs

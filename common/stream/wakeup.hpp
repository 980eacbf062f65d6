// An eventfd that interrupts a thread sleeping in poll.
#pragma once

#include "common/os/fd.hpp"

namespace tdfs {

// Thread-safe. Stays readable from wake() to drain().
class Wakeup {
  public:
    Wakeup();
    [[nodiscard]] int fd() const { return event_.get(); }
    void wake();
    void drain();

  private:
    OwnFd event_;
};

// The same on the eventfd of somebody else.
void wake_event(int fd);
void drain_event(int fd);  // only after poll has called it readable

}  // namespace tdfs

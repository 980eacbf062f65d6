// The kernel's switch for requests over io_uring.
#pragma once

#include <sched.h>

#include <optional>

#include "tests/support/janitor.hpp"

namespace tdfs::e2e {

// Switches it on, and afterwards back. It is one for the whole machine, and a mount that uses rings switches it on again: programs that
// use this run alone (ctest's RUN_SERIAL).
class RingsOn {
  public:
    RingsOn();
    // False: this kernel has none, or does not let us; said once.
    [[nodiscard]] static bool possible();
    static bool are_on();
    static void switch_off();

  private:
    std::optional<test::Afterwards> back_;
};

// Has this thread, and those it starts, run on one core within the scope: over io_uring each core has a queue of its own. Throws
// std::system_error where it may not.
class OnCore {
  public:
    explicit OnCore(unsigned core);
    ~OnCore();
    OnCore(const OnCore&) = delete;
    OnCore& operator=(const OnCore&) = delete;

  private:
    cpu_set_t before_{};
};

}  // namespace tdfs::e2e

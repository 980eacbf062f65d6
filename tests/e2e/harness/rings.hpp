// The kernel's switch for requests over io_uring.
#pragma once

#include <optional>

#include "tests/support/janitor.hpp"

namespace tdfs::e2e {

// Switches it on, and afterwards back. It is one for the whole machine: programs that use this do not run at the same time (ctest's
// RESOURCE_LOCK "rings"), others do not mind.
class RingsOn {
  public:
    RingsOn();
    // False: this kernel has none, or does not let us; said once.
    [[nodiscard]] static bool possible();
    static bool are_on();

  private:
    std::optional<test::Afterwards> back_;
};

}  // namespace tdfs::e2e

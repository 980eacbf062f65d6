// A directory of its own for one test, which is gone afterwards whatever happens.
#pragma once

#include <memory>
#include <string>

#include "tests/support/janitor.hpp"

namespace tdfs::e2e {

// Below TDFS_TEST_DIR, or /var/tmp. Daemons that are left over in it and mounts go too (Janitor).
//
// Owned by the test; not thread-safe.
class Scratch {
  public:
    Scratch();  // throws std::system_error
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }
    // A new directory in it.
    [[nodiscard]] std::string dir(const std::string& name) const;

  private:
    std::string path_;
    std::unique_ptr<test::Janitor> janitor_;
};

}  // namespace tdfs::e2e

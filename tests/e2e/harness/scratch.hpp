// A directory of its own for one test, which is gone afterwards whatever happens.
#pragma once

#include <sys/types.h>

#include <string>

namespace tdfs::e2e {

// Below TDFS_TEST_DIR, or /var/tmp. A helper process waits for the end of this object or of the whole test program
// (also by a signal), then kills daemons that were left over, unmounts what is mounted below and removes everything.
//
// Owned by the test; not thread-safe.
class Scratch {
  public:
    Scratch();  // throws std::runtime_error
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }
    // A new directory in it.
    [[nodiscard]] std::string dir(const std::string& name) const;

  private:
    std::string path_;
    int alive_ = -1;  // the helper reads the other end: end of file is the sign to clean up
    pid_t janitor_ = -1;
};

}  // namespace tdfs::e2e

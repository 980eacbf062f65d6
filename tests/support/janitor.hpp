// Cleans up after a test program, whatever became of it.
#pragma once

#include <sys/types.h>

#include <string>

namespace tdfs::test {

// A process that waits for the end of this object or of the whole program (also by a signal), then kills processes that name
// something below `path` among their arguments, unmounts what is mounted there and removes it with all it holds.
class Janitor {
  public:
    explicit Janitor(const std::string& path);  // throws std::system_error
    ~Janitor();                                 // returns when all is clean
    Janitor(const Janitor&) = delete;
    Janitor& operator=(const Janitor&) = delete;

  private:
    int alive_ = -1;  // the process reads the other end: end of file is the sign to clean up
    pid_t process_ = -1;
};

}  // namespace tdfs::test

// Cleans up after a test program, whatever became of it.
#pragma once

#include <sys/types.h>

#include <string>

namespace tdfs::test {

// A process that waits for the end of this object or of the whole program (also by a signal), and then runs a shell script.
class Afterwards {
  public:
    // `argument` is its $1. Throws std::system_error.
    Afterwards(const char* script, const std::string& argument);
    ~Afterwards();  // returns when it has run
    Afterwards(const Afterwards&) = delete;
    Afterwards& operator=(const Afterwards&) = delete;

  private:
    int alive_ = -1;  // the process reads the other end: end of file is the sign
    pid_t process_ = -1;
};

// Afterwards kills processes that name something below `path` among their arguments, unmounts what is mounted there and removes it
// with all it holds.
class Janitor : public Afterwards {
  public:
    explicit Janitor(const std::string& path);
};

}  // namespace tdfs::test

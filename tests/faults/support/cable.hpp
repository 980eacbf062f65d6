// A network of its own for one slave, and the cable to it, in the test's hand.
#pragma once

#include <sys/types.h>

#include <string>

#include "tests/e2e/harness/process.hpp"

namespace tdfs::faults {

// A network namespace and a pair of virtual interfaces: one end here, the other in there. A helper process waits for the
// end of this object or of the whole test program (also by a signal), and then removes both. Its methods throw
// std::runtime_error where a tool refuses. Not thread-safe.
class Cable {
  public:
    // "" or why there can be none on this machine.
    static std::string impossible();

    Cable();
    ~Cable();
    Cable(const Cable&) = delete;
    Cable& operator=(const Cable&) = delete;

    [[nodiscard]] const std::string& far_address() const { return far_address_; }
    // The command as it is run at the far end.
    [[nodiscard]] e2e::Words there(const e2e::Words& command) const;

    void drop(unsigned percent);  // of the packets in each direction, at random; 100: all, and nobody is told
    void reset();                 // every TCP packet is answered with a reset
    void limit(unsigned kilobits_a_second);
    void pull();  // the interface goes down
    void kill_connections();
    void heal();  // all but kill_connections()

  private:
    void end() const;
    void filter(const std::string& rule) const;

    std::string name_, here_, far_, near_address_, far_address_;
    int alive_ = -1;  // the helper reads the other end
    pid_t janitor_ = -1;
};

}  // namespace tdfs::faults

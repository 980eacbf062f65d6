// What keeps programs out of a directory whose mount covers it while no daemon serves that mount.
#pragma once

#include <string>

#include "common/os/fd.hpp"
#include "proto/result.hpp"

namespace tdfs {

// An empty read-only tmpfs between the directory and the mount over it. A killed master's mount has to be taken away before
// the next one can be put there; what programs do to that path meanwhile would otherwise bypass the mount and never be
// replicated. So it stays when the process is killed, and goes with the object when the daemon ends in order.
//
// Owned by Volume; not thread-safe.
class Cover {
  public:
    Cover() = default;
    ~Cover();
    Cover(const Cover&) = delete;
    Cover& operator=(const Cover&) = delete;

    // Whether one lies uppermost on `directory` (a canonical path).
    [[nodiscard]] static bool is_on(const std::string& directory);
    // The directory beneath the cover, and what is mounted below it. The descriptor keeps that tree together: it has to
    // stay open as long as anything beneath is used.
    static Result<OwnFd, std::string> open_beneath(const std::string& directory);
    static Result<void, std::string> take_away(const std::string& directory);

    // Covers `directory`, or takes over the cover that is there.
    Result<void, std::string> put(const std::string& directory);

  private:
    std::string directory_;
};

}  // namespace tdfs

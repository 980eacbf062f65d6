// The other end of the control socket: finds the daemon of a directory and asks it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "common/os/fd.hpp"
#include "proto/result.hpp"

namespace tdfs {

// How tdfsctl ends, and what scripts may rely on.
enum class ControlExit : int {
    kOk = 0,
    kFailed = 1,    // the daemon said why; inspect: differences were found
    kUsage = 2,     // the command line is wrong
    kNoDaemon = 3,  // nobody answers there
    kTimedOut = 4,
    kNotChecked = 5,  // inspect: not everything could be compared, and what could be is equal
};

struct ControlError {
    ControlExit code;
    std::string text;  // one line
};

inline Unexpected<ControlError> failed(const std::string& text) {
    return Unexpected<ControlError>(ControlError{ControlExit::kFailed, text});
}

// One connection, one question at a time. One thread.
class ControlClient {
  public:
    // The daemon of `dir`: by the socket in `state_dir` where that is not empty, else in DIR/.tdfs; then by the one in
    // /run/tdfs. `dir` may be empty where `state_dir` is given.
    static Result<ControlClient, ControlError> connect(const std::string& dir, const std::string& state_dir);

    // The answer; lines before it go to on_line. {"error"} answers become errors with their code.
    Result<nlohmann::json, ControlError> ask(const nlohmann::json& command,
                                             std::optional<std::chrono::milliseconds> timeout,
                                             const std::function<void(const nlohmann::json&)>& on_line = {});

    // Waits until the daemon's process has ended; false on the deadline. True at once where it cannot be seen from
    // here.
    [[nodiscard]] bool wait_for_end(std::chrono::milliseconds timeout) const;

  private:
    explicit ControlClient(OwnFd fd);
    OwnFd fd_;
    OwnFd process_;  // pidfd of the daemon
};

}  // namespace tdfs

// JSON objects as lines over a socket, bounded in length and time.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "proto/errno.hpp"

namespace tdfs {

using SteadyTime = std::chrono::steady_clock::time_point;

// Reads one socket line by line. One thread; the descriptor outlives it.
class LineReader {
  public:
    LineReader(int fd, std::size_t limit_bytes) : fd_(fd), limit_bytes_(limit_bytes) {}

    // The next line without its newline. nullopt: the peer has closed, or `stop_fd` (-1: none) became readable. Errors:
    // EMSGSIZE for a line above the limit, ETIMEDOUT after `deadline`.
    SysResult<std::optional<std::string>> next(int stop_fd, std::optional<SteadyTime> deadline = std::nullopt);

  private:
    SysResult<bool> fill(int stop_fd, std::optional<SteadyTime> deadline);  // false: nothing will come any more
    int fd_;
    std::size_t limit_bytes_;
    std::string buffer_;
    std::size_t searched_ = 0;  // no newline before here
};

// Never raises SIGPIPE. Bytes that are no UTF-8 become U+FFFD.
SysResult<void> send_line(int fd, const nlohmann::json& object);

}  // namespace tdfs

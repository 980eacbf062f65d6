// What both daemons do alike around their work: log, go to the background, end in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/os/fd.hpp"
#include "proto/result.hpp"

namespace tdfs {

// Sets spdlog's default logger up. With `file`: appended to there (and to stderr in front); without: stderr in front
// (-f), syslog in the background, where warnings go to stderr too until Background::ready(). Level:
// error|warn|info|debug. Starts no thread, so it may stand before or after the Background.
Result<void, std::string> start_logging(const std::string& program, bool foreground, const std::string& file,
                                        const std::string& level);
// Opens the log file again under its name (after a rotation). wait_for_signal_or does so on SIGHUP.
void reopen_log();

// fork now, work in the child, and let the parent exit only when the child says ready() (exit 0) or fails (its one line
// on stderr and exit status are passed on). With foreground, nothing happens but the bookkeeping.
//
// Owned by main, made before any thread starts and before the state directory is locked. A process that cannot fork
// ends here with one line.
class Background {
  public:
    explicit Background(bool foreground);
    Background(const Background&) = delete;
    Background& operator=(const Background&) = delete;
    ~Background();
    // Call once. In the background: own session, stdin/stdout/stderr to /dev/null, working directory "/" (so that the
    // daemon keeps no file system busy: make paths from the command line absolute before).
    void ready();

  private:
    OwnFd to_parent_;
    bool foreground_;
};

// Blocks SIGTERM, SIGINT, SIGHUP in all threads (call before any starts); ignores SIGPIPE.
void block_signals();
// Waits for SIGTERM/SIGINT (true) or until `fd` becomes readable (false).
bool wait_for_signal_or(int fd);

// Raises the soft limit of open files to the hard limit; returns it.
std::size_t raise_open_file_limit();

// Anonymous memory of this process in bytes (RssAnon), for status.
std::uint64_t anonymous_memory_bytes();

}  // namespace tdfs

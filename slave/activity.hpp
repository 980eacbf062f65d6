// In which seconds the daemon itself changed something in the replica: what was changed in any other is somebody else's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "common/os/fd.hpp"
#include "proto/errno.hpp"
#include "proto/result.hpp"

namespace tdfs {

// Invariant: the second in which the daemon changes an object is marked before anybody asks, so its own work is never taken
// for somebody else's: by no power loss (from `open_since`, which is on the disk, to the boot everything counts as its own), and by
// a kill only where it comes in the middle of a change that went beyond the second in which it began. The other way round it
// may err: what somebody else changes in a second in which the daemon worked too is not told from its own.
//
// The change time of an object is what decides. The kernel sets it at every change of content, owner, mode, attributes or
// name, and nobody can choose it. The marks are one bit a second in a sparse file of 4 MiB, a ring of half a year; what was
// before it, or before begin(), counts as the daemon's own.
//
// mark() and is_foreign() from any thread; upkeep() and close() from one at a time. Owned by the replica; `dir` outlives it.
class ActivityLog {
  public:
    // `dir`: the state directory. `root_ino`: of the replica; a copy of a replica has another, and begins anew.
    static Result<std::unique_ptr<ActivityLog>, std::string> open(int dir, std::uint64_t root_ino);

    // The machine went down without a clean stop, and was booted at `boot_ns` by the wall clock.
    void went_down(std::uint64_t boot_ns = boot_time_ns());
    static std::uint64_t boot_time_ns();
    // The replica is all the daemon's work as of now, where that was not known before.
    void begin();
    // The daemon is at work: now, and while a Span lives all the time since the last mark.
    void mark();

    // Around changes of the daemon, which may take long. Nothing where there is no log.
    class Span {
      public:
        explicit Span(ActivityLog* log) : log_(log) {
            if (log_ == nullptr) return;
            log_->mark();
            ++log_->working_;
        }
        ~Span() {
            if (log_ == nullptr) return;
            log_->mark();
            --log_->working_;
        }
        Span(const Span&) = delete;
        Span& operator=(const Span&) = delete;

      private:
        ActivityLog* const log_;
    };

    [[nodiscard]] bool is_foreign(std::int64_t ctime_ns) const;

    // Puts on the disk what a power loss must not take. False: call it again in about a second.
    bool upkeep();
    void close();  // nothing will be changed from here on

  private:
    struct Header {
        std::uint64_t magic = 0;
        std::uint64_t root_ino = 0;
        std::uint64_t begin = 0;       // second; 0: not begun
        std::uint64_t open_since = 0;  // second; 0: no mark came after what is on the disk
        std::uint64_t checksum = 0;
    };
    ActivityLog(OwnFd fd, const Header& header) : fd_(std::move(fd)), header_(header), begin_(header.begin) {}
    static std::uint64_t checksum_of(const Header& header);
    void set(std::uint64_t second);                    // needs mutex_
    bool save(std::uint64_t open_since, bool settle);  // marks first, then the header
    void complain(const char* what, const Errno& e);

    const OwnFd fd_;
    std::mutex mutex_;  // guards header_, and marks being made
    Header header_;
    std::atomic<std::uint64_t> begin_;
    std::atomic<std::uint64_t> newest_{0};  // second marked last
    std::atomic<int> working_{0};           // spans
    std::atomic<std::uint64_t> first_{0};   // marked since nothing was open; 0: none
    std::atomic<bool> complained_{false};
};

}  // namespace tdfs

// The sign of life of a session whose thread is busy.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "common/stream/timing.hpp"
#include "proto/bytes.hpp"
#include "proto/errno.hpp"

namespace tdfs {

// A sync of a busy disk, a large directory, a page that has to be read: the session's thread may stand in any of these for longer
// than the other side waits for a word. This one sends a word of its own where the session has said nothing for kBusyNs.
//
// Invariant: a word stands between two frames of the session, and is never sent in part with something of the session behind it. So
// all that the session sends goes through send(), and in between it says whether a frame is under way.
//
// send() and between_frames() by the session's thread, which owns it. `fd`, which does not block, outlives it.
class Pulse {
  public:
    // `word`: makes one whole frame; called by the pulse's thread, and must not wait for anything.
    Pulse(int fd, std::function<Bytes()> word);
    ~Pulse();
    Pulse(const Pulse&) = delete;
    Pulse& operator=(const Pulse&) = delete;

    // One transfer of the session's. EAGAIN: not now, also where the rest of a word has to go first.
    template <class Transfer>
    SysResult<std::size_t> send(Transfer transfer) {
        const std::lock_guard lock(mutex_);
        if (auto done = finish_word(); !done) return fail(done.error());
        between_ = false;
        said_ns_ = monotonic_ns();
        return transfer();
    }
    // Whether all that was sent are whole frames, and a word may follow. Not until it is said first.
    void between_frames(bool yes) {
        const std::lock_guard lock(mutex_);
        between_ = yes;
    }

  private:
    void run();
    SysResult<void> finish_word();  // needs mutex_

    const int fd_;
    const std::function<Bytes()> word_;
    std::mutex mutex_;  // guards:
    std::condition_variable ended_;
    bool ending_ = false;
    bool between_ = false;
    std::uint64_t said_ns_;
    Bytes rest_;  // of a word
    std::thread thread_;
};

}  // namespace tdfs

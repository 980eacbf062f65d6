// Pushes out what the kernel keeps unwritten, at a bounded interval (--writeback).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "common/os/fd.hpp"
#include "master/file_system.hpp"
#include "proto/result.hpp"

namespace tdfs {

// Stages of its thread:
//   apart     it gives up the process's descriptors: it will wait for this very daemon, in the kernel and deaf to signals, and a
//             daemon that is killed must not be kept alive by its own /dev/fuse in such a thread's hands
//   attached  a mount of its own of the same file system, attached nowhere: an open file beneath the visible mount would keep
//             that from being unmounted
//   pushing   syncfs() on it, whenever the interval has passed and files are open for writing, or somebody asks. It begins
//             writes, and newer kernels do not wait for them; for who asks, the files are opened and closed, which does
//   gone      once the visible mount is not there any more its own one goes too, and with it the file system
//
// Nobody waits for it with a lock held, nor any thread that answers requests. It does not log: the log is among the
// descriptors it has given up.
//
// Thread-safe. Owned by main; `fs` outlives it. Stopped while requests are still answered.
class WriteOut {
  public:
    // `fs` tells which files are open for writing.
    WriteOut(std::chrono::milliseconds interval, FileSystem& fs);
    ~WriteOut();  // stop()
    WriteOut(const WriteOut&) = delete;
    WriteOut& operator=(const WriteOut&) = delete;

    // Once requests are answered. The error text is one line for people.
    Result<void, std::string> start(const std::string& mountpoint);
    // Asks for a push, and waits for it. True when what was unwritten when it was asked for has been written, or can never be:
    // the mount is gone, or this was not started.
    std::uint64_t ask();
    bool await(std::uint64_t asked, std::chrono::milliseconds at_most);
    void stop();  // after a last push

  private:
    void run(const std::string& mountpoint, int mount_id);
    Result<OwnFd, std::string> attach(const std::string& mountpoint) const;
    void wait_for_writes(int root);
    void wake();

    const std::chrono::milliseconds interval_;
    FileSystem& fs_;
    const OwnFd wake_;  // an eventfd, which the thread keeps
    std::thread thread_;

    std::mutex mutex_;  // guards:
    std::condition_variable changed_;
    enum class State { kStarting, kPushing, kGone } state_ = State::kGone;
    std::string error_;  // why it could not begin
    bool stopping_ = false;
    std::uint64_t asked_ = 0, done_ = 0;  // pushes that were asked for, and how many of them are done
};

}  // namespace tdfs

// Requests over io_uring: one system call gives an answer and takes the next request, on the core where it is asked.
// Source: https://docs.kernel.org/filesystems/fuse-io-uring.html; fs/fuse/dev_uring.c of the kernel
#pragma once

#include <liburing.h>
#include <sched.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/os/fd.hpp"
#include "master/crew.hpp"
#include "master/fuse_answers.hpp"
#include "master/fuse_channel.hpp"
#include "proto/errno.hpp"
#include "proto/result.hpp"

struct fuse_session;

namespace tdfs {

// Asks for rings in the answer that agrees on the session. From then on requests wait until each of the kernel's queues has a place.
class RingOffer : public Answers {
  public:
    // `wanted` is read when the answer is given, and false afterwards where it could not be asked for.
    RingOffer(int session_fd, std::atomic<bool>& wanted) : fd_(session_fd), wanted_(wanted) {}
    ssize_t answer(std::span<const iovec> parts) override;

  private:
    const int fd_;
    std::atomic<bool>& wanted_;
};

// How many queues the kernel has for requests, one for each core that the machine may ever have; or why rings can't be used here.
[[nodiscard]] Result<unsigned, std::string> ring_queues();

// One place in one of the kernel's queues, in a ring of its own. The kernel chooses a place and fills it in the thread that offered it: what
// it put into the places of a thread that waits for a disk, nobody else could take. So each thread has one, and who waits
// has none that could be filled.
//
// A place is given up with the mount only, so its thread never parks; the kernel fills the one first that was offered last. The thread
// stays on its queue's core: whoever asks there goes to sleep, and no other core has to be woken. Only after a large read it may be woken
// anywhere: more of them come, ahead of an application that has not gone to sleep.
//
// A request that finds no place is taken by the next answer in its queue; a new place does not take it. So a thread that comes because all
// others wait makes a request itself, of a kind that nobody waits for, whose answer takes the next. The kernel grants that for a regular
// file it knows: one that a request in this queue was about last. Where it knows none of those, all of them being about names, what found no
// place waits until one of them is answered, or the next request comes from that core.
//
// Where the kernel refuses the first place, it sends requests over /dev/fuse, and the thread takes them there. If rings are switched off in
// the kernel while this uses them, it switches them on again: requests that it has taken can be answered in no other way.
//
// `session` outlives it. Made by any thread, used by one.
class FuseRing : public Hand, private Answers {
  public:
    // What the places of one queue know of each other. Outlives them.
    struct Queue {
        Queue(unsigned core, OwnFd to_kernel) : number(core), device(std::move(to_kernel)) {}
        const unsigned number;
        const OwnFd device;                // a copy of the session's, which is closed before the last answers are given
        std::atomic<bool> in_use = false;  // a request came
        std::mutex mutex;                  // guards:
        std::vector<const FuseRing*> places;
    };
    [[nodiscard]] static Result<std::unique_ptr<FuseRing>, Errno> make(fuse_session* session, Queue& queue);
    ~FuseRing() override;
    FuseRing(const FuseRing&) = delete;
    FuseRing& operator=(const FuseRing&) = delete;
    Taken take() override;
    void serve() override;
    void leave() override;
    [[nodiscard]] bool parks() const override { return channel_.has_value(); }

  private:
    struct Place;
    enum class Next { kRegister, kCommit, kWait };  // what the kernel is told when the thread takes a request

    FuseRing(fuse_session* session, Queue& queue);
    void begin();
    void offer();
    void take_what_waits();
    [[nodiscard]] bool ask_about(std::uint64_t file) const;
    void go_home(bool home);
    void submit(unsigned command, std::uint64_t commit_id);
    Taken failed(Next told, int error);
    void answer_nothing(std::uint64_t unique, int error);
    ssize_t answer(std::span<const iovec> parts) override;
    std::span<std::byte> space() override;

    fuse_session* const session_;
    Queue& queue_;
    io_uring ring_{};
    const std::unique_ptr<Place> place_;
    Next next_ = Next::kRegister;
    bool begun_ = false;
    std::atomic<std::uint64_t> file_ = 0;  // that a request was about last, as the kernel calls it
    bool answered_ = false;
    bool copied_much_ = false;  // the last answer
    bool at_home_ = false;      // on the queue's core, not
    cpu_set_t anywhere_{};      // the process may run
    std::optional<FuseChannel> channel_;
};

}  // namespace tdfs

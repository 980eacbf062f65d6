// How requests come in and answers go out: each thread has a channel of its own to the kernel, and an answer has to take the channel
// that its request came by.
#pragma once

#include <cstddef>
#include <memory>

#include "common/os/fd.hpp"
#include "master/crew.hpp"

struct fuse_session;

namespace tdfs {

// Where answers of this thread go within the scope. For those that are given by another thread than the one that took the request.
class ReplyThrough {
  public:
    static int channel();  // of the request that this thread serves

    explicit ReplyThrough(int channel);
    ~ReplyThrough();
    ReplyThrough(const ReplyThrough&) = delete;
    ReplyThrough& operator=(const ReplyThrough&) = delete;

  private:
    const int before_;
};

// Has the session's answers go that way. After it was mounted, once. False: this libfuse cannot; then nobody may have a channel of
// its own.
[[nodiscard]] bool route_replies(fuse_session* session);

// `session` outlives it.
class FuseChannel : public Hand {
  public:
    enum class Kind { kOwn, kShared };  // a clone of the session's, or the session's itself
    FuseChannel(fuse_session* session, Kind kind);
    Taken take() override;
    void serve() override;
    void rest() override { buffer_.reset(); }

  private:
    fuse_session* const session_;
    const OwnFd own_;
    const int fd_;
    std::unique_ptr<std::byte[]> buffer_;
    std::size_t size_ = 0;
};

}  // namespace tdfs

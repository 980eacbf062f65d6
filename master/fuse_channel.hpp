// Requests over /dev/fuse: a thread reads them, and writes their answers.
#pragma once

#include <cstddef>
#include <memory>

#include "common/os/fd.hpp"
#include "master/crew.hpp"
#include "master/fuse_answers.hpp"

struct fuse_session;

namespace tdfs {

// `session` outlives it.
class FuseChannel : public Hand, private Answers {
  public:
    enum class Kind { kOwn, kShared };  // a clone of the session's, or the session's itself
    FuseChannel(fuse_session* session, Kind kind);
    Taken take() override;
    void serve() override;
    void rest() override { buffer_.reset(); }

  private:
    ssize_t answer(std::span<const iovec> parts) override;

    fuse_session* const session_;
    const OwnFd own_;
    const int fd_;
    std::unique_ptr<std::byte[]> buffer_;
    std::size_t size_ = 0;
};

}  // namespace tdfs

// Where answers go: each has to take the way that its request came by.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>

struct fuse_session;

namespace tdfs {

// Takes the answer to the request that a thread serves.
class Answers {
  public:
    virtual ~Answers() = default;
    // The parts that writev would get; what it would return, with errno.
    virtual ssize_t answer(std::span<const iovec> parts) = 0;
    // Where what follows an answer's header may be put, so that it need not be copied there.
    virtual std::span<std::byte> space() { return {}; }
};

// Answers of this thread go there within the scope; nullptr: by the session's own channel.
class AnswerThrough {
  public:
    static Answers* here();  // of the request that this thread serves

    explicit AnswerThrough(Answers* answers);
    ~AnswerThrough();
    AnswerThrough(const AnswerThrough&) = delete;
    AnswerThrough& operator=(const AnswerThrough&) = delete;

  private:
    Answers* const before_;
};

// Memory for `size` bytes of the answer to this thread's request, until it is answered. What is in it is of no meaning.
[[nodiscard]] std::span<std::byte> answer_space(std::size_t size);

// Has the session's answers go that way. After it was mounted, once. False: this libfuse cannot; then all take the session's channel.
[[nodiscard]] bool route_answers(fuse_session* session);

}  // namespace tdfs

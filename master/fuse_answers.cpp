#include "master/fuse_answers.hpp"

#include <linux/fuse.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "proto/bytes.hpp"

namespace tdfs {

namespace {

thread_local Answers* answers_of_thread = nullptr;

// What is no answer but a word of our own has no request whose way it could take.
bool is_answer(const iovec& first) {
    return first.iov_len >= sizeof(fuse_out_header) && static_cast<const fuse_out_header*>(first.iov_base)->unique != 0;
}

ssize_t send(int fd, iovec* parts, int count, void*) {
    const std::span<const iovec> all(parts, static_cast<std::size_t>(count));
    if (answers_of_thread != nullptr && !all.empty() && is_answer(all[0])) return answers_of_thread->answer(all);
    return ::writev(fd, parts, count);
}

ssize_t receive(int fd, void* buffer, size_t size, void*) { return ::read(fd, buffer, size); }

}  // namespace

Answers* AnswerThrough::here() { return answers_of_thread; }
AnswerThrough::AnswerThrough(Answers* answers) : before_(answers_of_thread) { answers_of_thread = answers; }
AnswerThrough::~AnswerThrough() { answers_of_thread = before_; }

std::span<std::byte> answer_space(std::size_t size) {
    if (answers_of_thread != nullptr) {
        if (const auto space = answers_of_thread->space(); space.size() >= size) return space.first(size);
    }
    static thread_local Bytes own;
    if (own.size() < size) own.resize(size);
    return std::span(own).first(size);
}

bool route_answers(fuse_session* session) {
    fuse_custom_io io{};
    io.writev = send;
    io.read = receive;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
    return fuse_session_custom_io(session, &io, sizeof io, fuse_session_fd(session)) == 0;
#else
    return fuse_session_custom_io(session, &io, fuse_session_fd(session)) == 0;
#endif
}

}  // namespace tdfs

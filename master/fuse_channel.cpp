#include "master/fuse_channel.hpp"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fuse_lowlevel.h>
#include <spdlog/spdlog.h>

#include "proto/record.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kRequestBytes = kMaxWriteBytes + 4096;  // the largest, with its headers

OwnFd clone(int session_fd) {
    OwnFd fd(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    auto from = static_cast<std::uint32_t>(session_fd);
    if (fd && ::ioctl(fd.get(), FUSE_DEV_IOC_CLONE, &from) == 0) return fd;
    spdlog::warn("a thread shares its channel to the kernel: {}", std::strerror(errno));
    return {};
}

}  // namespace

FuseChannel::FuseChannel(fuse_session* session, Kind kind)
    : session_(session),
      own_(kind == Kind::kOwn ? clone(fuse_session_fd(session)) : OwnFd()),
      fd_(own_ ? own_.get() : fuse_session_fd(session)) {}

Hand::Taken FuseChannel::take() {
    // Not cleared: what no request reaches takes no memory.
    if (!buffer_) buffer_ = std::make_unique_for_overwrite<std::byte[]>(kRequestBytes);
    for (;;) {
        const ssize_t n = ::read(fd_, buffer_.get(), kRequestBytes);
        if (n > 0) {
            size_ = static_cast<std::size_t>(n);
            return Taken::kRequest;
        }
        if (n < 0 && (errno == ENOENT || errno == EAGAIN)) continue;  // given up by its application before it was read
        if (n < 0 && errno == EINTR) return Taken::kInterrupted;
        if (n < 0 && errno != ENODEV) spdlog::error("mount error=\"{}\"", std::strerror(errno));
        return Taken::kEnd;  // unmounted
    }
}

void FuseChannel::serve() {
    const AnswerThrough here(own_ ? this : nullptr);
    fuse_buf request{};
    request.mem = buffer_.get();
    request.size = size_;
    fuse_session_process_buf(session_, &request);
}

ssize_t FuseChannel::answer(std::span<const iovec> parts) {
    return ::writev(fd_, parts.data(), static_cast<int>(parts.size()));
}

}  // namespace tdfs

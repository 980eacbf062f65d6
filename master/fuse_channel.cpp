#include "master/fuse_channel.hpp"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fuse_lowlevel.h>
#include <spdlog/spdlog.h>

#include "proto/record.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kRequestBytes = kMaxWriteBytes + 4096;  // the largest, with its headers

thread_local int channel_of_thread = -1;  // -1: the session's

ssize_t send(int fd, iovec* parts, int count, void*) {
    return ::writev(channel_of_thread >= 0 ? channel_of_thread : fd, parts, count);
}

ssize_t receive(int fd, void* buffer, size_t size, void*) { return ::read(fd, buffer, size); }

OwnFd clone(int session_fd) {
    OwnFd fd(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    auto from = static_cast<std::uint32_t>(session_fd);
    if (fd && ::ioctl(fd.get(), FUSE_DEV_IOC_CLONE, &from) == 0) return fd;
    spdlog::warn("a thread shares its channel to the kernel: {}", std::strerror(errno));
    return {};
}

}  // namespace

int ReplyThrough::channel() { return channel_of_thread; }
ReplyThrough::ReplyThrough(int channel) : before_(channel_of_thread) { channel_of_thread = channel; }
ReplyThrough::~ReplyThrough() { channel_of_thread = before_; }

bool route_replies(fuse_session* session) {
    fuse_custom_io io{};
    io.writev = send;
    io.read = receive;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
    return fuse_session_custom_io(session, &io, sizeof io, fuse_session_fd(session)) == 0;
#else
    return fuse_session_custom_io(session, &io, fuse_session_fd(session)) == 0;
#endif
}

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
    const ReplyThrough here(own_ ? own_.get() : -1);
    fuse_buf request{};
    request.mem = buffer_.get();
    request.size = size_;
    fuse_session_process_buf(session_, &request);
}

}  // namespace tdfs

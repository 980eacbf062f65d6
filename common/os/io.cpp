#include <sys/uio.h>

#include <algorithm>
#include <array>

#include "common/os/file.hpp"
#include "common/os/retry.hpp"

namespace tdfs {

namespace {

// What was moved before the end of the file or the first error; `error` is 0 without one.
struct Moved {
    std::size_t bytes = 0;
    int error = 0;
};

Moved read_on(int fd, std::span<std::byte> out, std::uint64_t offset) {
    Moved moved;
    while (moved.bytes < out.size()) {
        const auto n = retry_interrupted([&] {
            return ::pread(fd, out.data() + moved.bytes, out.size() - moved.bytes,
                           static_cast<off_t>(offset + moved.bytes));
        });
        if (n < 0) moved.error = errno;
        if (n <= 0) break;
        moved.bytes += static_cast<std::size_t>(n);
    }
    return moved;
}

Moved write_on(int fd, ByteView data, std::uint64_t offset) {
    Moved moved;
    while (moved.bytes < data.size()) {
        const auto n = retry_interrupted([&] {
            return ::pwrite(fd, data.data() + moved.bytes, data.size() - moved.bytes,
                            static_cast<off_t>(offset + moved.bytes));
        });
        if (n < 0) moved.error = errno;
        if (n == 0) moved.error = EIO;  // a device that takes nothing and says nothing
        if (n <= 0) break;
        moved.bytes += static_cast<std::size_t>(n);
    }
    return moved;
}

iovec to_iovec(ByteView data) {
    return {const_cast<std::byte*>(data.data()), data.size()};  // NOLINT(*-const-cast): only read by pwritev
}

}  // namespace

SysResult<void> read_exact(int fd, std::span<std::byte> out, std::uint64_t offset) {
    const auto moved = read_on(fd, out, offset);
    if (moved.error != 0) return fail(moved.error);
    if (moved.bytes < out.size()) return fail(EIO);
    return {};
}

SysResult<std::size_t> read_some(int fd, std::span<std::byte> out, std::uint64_t offset) {
    const auto moved = read_on(fd, out, offset);
    if (moved.error != 0) return fail(moved.error);
    return moved.bytes;
}

SysResult<std::size_t> read_some(int fd, std::span<std::byte> out, std::uint64_t offset,
                                 const std::function<void()>& before_waiting) {
    std::size_t done = 0;
    while (done < out.size()) {
        const iovec rest{out.data() + done, out.size() - done};
        const auto n =
            retry_interrupted([&] { return ::preadv2(fd, &rest, 1, static_cast<off_t>(offset + done), RWF_NOWAIT); });
        if (n == 0) return done;
        if (n < 0) {
            if (errno == EAGAIN) before_waiting();  // else: this file system cannot tell
            const auto waited = read_some(fd, out.subspan(done), offset + done);
            return waited ? SysResult<std::size_t>(done + *waited) : waited;
        }
        done += static_cast<std::size_t>(n);
    }
    return done;
}

SysResult<void> write_all(int fd, ByteView data, std::uint64_t offset) {
    const auto moved = write_on(fd, data, offset);
    if (moved.error != 0) return fail(moved.error);
    return {};
}

SysResult<std::size_t> write_most(int fd, ByteView data, std::uint64_t offset) {
    const auto moved = write_on(fd, data, offset);
    if (moved.error != 0 && moved.bytes == 0) return fail(moved.error);
    return moved.bytes;
}

SysResult<void> write_all2(int fd, ByteView first, ByteView second, std::uint64_t offset) {
    const std::array<iovec, 2> parts{to_iovec(first), to_iovec(second)};
    const auto n = retry_interrupted([&] { return ::pwritev(fd, parts.data(), 2, static_cast<off_t>(offset)); });
    if (n < 0) return fail_last();

    const auto done = static_cast<std::size_t>(n);
    const auto rest_of_first = first.subspan(std::min(done, first.size()));
    if (auto written = write_all(fd, rest_of_first, offset + done); !written) return written;
    const auto done_of_second = done > first.size() ? done - first.size() : 0;
    return write_all(fd, second.subspan(done_of_second), offset + first.size() + done_of_second);
}

SysResult<std::string> read_link_at(int dir, const std::string& name) {
    constexpr std::size_t kLimitBytes = 64 * 1024;
    std::string target(512, '\0');
    for (;;) {
        const auto n = ::readlinkat(dir, name.c_str(), target.data(), target.size());
        if (n < 0) return fail_last();
        if (static_cast<std::size_t>(n) < target.size()) {
            target.resize(static_cast<std::size_t>(n));
            return target;
        }
        if (target.size() >= kLimitBytes) return fail(ENAMETOOLONG);
        target.resize(target.size() * 8);
    }
}

}  // namespace tdfs

#include <sys/xattr.h>

#include <algorithm>

#include "common/os/file.hpp"
#include "common/os/xattr_at.hpp"
#include "proto/checksum.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kFirstGuessBytes = 256;
constexpr int kMaxTries = 16;  // the value may grow between asking for its size and reading it

// The call on an ordinary descriptor; on an O_PATH one (EBADF) the same through /proc/self/fd, which leads to the
// object itself, also where that is a symlink.
template <class ByFd, class ByPath>
auto by_fd_or_path(int fd, ByFd by_fd, ByPath by_path) {
    const auto result = by_fd();
    if (result >= 0 || errno != EBADF) return result;
    return by_path(proc_fd_path(fd).c_str());
}

// Calls read(buffer, size) with a buffer that is large enough; read(nullptr, 0) asks for the size.
template <class Buffer, class Read>
SysResult<Buffer> read_sized(Read read) {
    Buffer buffer(kFirstGuessBytes, typename Buffer::value_type{});
    for (int i = 0; i < kMaxTries; ++i) {
        const ssize_t got = read(buffer.data(), buffer.size());
        if (got >= 0) {
            buffer.resize(static_cast<std::size_t>(got));
            return buffer;
        }
        if (errno != ERANGE) return fail_last();
        const ssize_t needed = read(nullptr, 0);
        if (needed < 0) return fail_last();
        buffer.resize(std::max(static_cast<std::size_t>(needed), kFirstGuessBytes));
    }
    return fail(ERANGE);
}

bool may_be_left_out(Errno e) {
    return e.value() == EPERM || e.value() == EACCES || e.value() == ENODATA || e.value() == EOPNOTSUPP;
}

}  // namespace

SysResult<std::vector<std::string>> list_xattrs(int fd) {
    auto raw = read_sized<std::string>([fd](char* out, std::size_t size) {
        return by_fd_or_path(
            fd, [&] { return ::flistxattr(fd, out, size); },
            [&](const char* path) { return ::listxattr(path, out, size); });
    });
    if (!raw) return fail(raw.error());

    std::vector<std::string> names;
    for (std::size_t at = 0; at < raw->size();) {
        const auto end = std::min(raw->find('\0', at), raw->size());
        names.push_back(raw->substr(at, end - at));
        at = end + 1;
    }
    return names;
}

bool has_no_xattrs_at(int dir, const std::string& name) {
    const std::string path = proc_fd_path(dir) + '/' + name;
    const ssize_t bytes = ::llistxattr(path.c_str(), nullptr, 0);
    return bytes == 0 || (bytes < 0 && errno == EOPNOTSUPP);
}

SysResult<Bytes> get_xattr(int fd, const std::string& name) {
    return read_sized<Bytes>([&](std::byte* out, std::size_t size) {
        return by_fd_or_path(
            fd, [&] { return ::fgetxattr(fd, name.c_str(), out, size); },
            [&](const char* path) { return ::getxattr(path, name.c_str(), out, size); });
    });
}

SysResult<void> set_xattr(int fd, const std::string& name, ByteView value, int flags) {
    const int done = by_fd_or_path(
        fd, [&] { return ::fsetxattr(fd, name.c_str(), value.data(), value.size(), flags); },
        [&](const char* path) { return ::setxattr(path, name.c_str(), value.data(), value.size(), flags); });
    if (done < 0) return fail_last();
    return {};
}

SysResult<void> remove_xattr(int fd, const std::string& name) {
    const int done = by_fd_or_path(
        fd, [&] { return ::fremovexattr(fd, name.c_str()); },
        [&](const char* path) { return ::removexattr(path, name.c_str()); });
    if (done < 0) return fail_last();
    return {};
}

SysResult<std::vector<std::pair<std::string, Bytes>>> read_all_xattrs(int fd) {
    std::vector<std::pair<std::string, Bytes>> all;
    auto names = list_xattrs(fd);
    if (!names && names.error().value() == EOPNOTSUPP) return all;
    if (!names) return fail(names.error());

    for (auto& name : *names) {
        auto value = get_xattr(fd, name);
        if (value) {
            all.emplace_back(std::move(name), std::move(*value));
        } else if (!may_be_left_out(value.error())) {
            return fail(value.error());
        }
    }
    std::sort(all.begin(), all.end());
    return all;
}

std::uint64_t hash_xattrs(const std::vector<std::pair<std::string, Bytes>>& xattrs) {
    std::uint64_t sum = 0;  // a sum does not depend on the order
    for (const auto& [name, value] : xattrs) {
        Checksum one;
        one.add(as_bytes(name));
        one.add(as_bytes(std::string_view("\0", 1)));  // ends the name, which holds no NUL itself
        one.add(value);
        sum += one.value();
    }
    return xattrs.empty() || sum != 0 ? sum : 1;
}

}  // namespace tdfs

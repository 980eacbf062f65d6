#include "common/journal/segment.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>

#include <array>
#include <charconv>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kDigits = 16;
constexpr std::string_view kSuffix = ".seg";

}  // namespace

std::string segment_name(Lsn first) {
    std::array<char, kDigits> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + kDigits, first.bytes(), 16).ptr;
    const auto length = static_cast<std::size_t>(end - digits.data());
    std::string name(kDigits - length, '0');
    name.append(digits.data(), length);
    name.append(kSuffix);
    return name;
}

std::optional<Lsn> parse_segment_name(std::string_view name) {
    if (name.size() != kDigits + kSuffix.size() || name.substr(kDigits) != kSuffix) return std::nullopt;
    std::uint64_t first = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + kDigits, first, 16);
    if (error != std::errc() || end != name.data() + kDigits || first > kMaxSegmentFirst) return std::nullopt;
    if (segment_name(Lsn(first)) != name) return std::nullopt;  // upper-case digits: not ours
    return Lsn(first);
}

SysResult<std::shared_ptr<const Segment>> create_segment(int dir, Lsn first) {
    auto fd = open_at(dir, segment_name(first), O_RDWR | O_CREAT | O_EXCL, 0600);
    if (!fd) return fail(fd.error());
    write_in_place(fd->get());
    return std::make_shared<const Segment>(first, std::move(*fd));
}

SysResult<void> preallocate(int fd, std::uint64_t from, std::uint64_t to) {
    if (from >= to) return {};
    int error = 0;
    do {
        error = ::posix_fallocate(fd, static_cast<off_t>(from), static_cast<off_t>(to - from));
    } while (error == EINTR);
    if (error == 0) return {};
    // Space taken before the disk turned out to be full goes back to the others. Where that fails too, the file is
    // longer than it need be, which does no harm: the first error is the one to tell.
    [[maybe_unused]] const int ignored = ::ftruncate(fd, static_cast<off_t>(from));
    return fail(error);
}

SysResult<void> leaves_free(int fd, std::uint64_t bytes, std::uint64_t keep) {
    if (keep == 0) return {};
    struct statvfs s {};
    if (::fstatvfs(fd, &s) != 0) return fail_last();
    const std::uint64_t available = std::uint64_t{s.f_bavail} * s.f_frsize;
    if (available < bytes || available - bytes < keep) return fail(ENOSPC);
    return {};
}

void write_in_place(int fd) {
    int flags = 0;
    if (::ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return;  // a file system without such flags (ENOTTY): nothing to ask
    flags |= FS_NOCOW_FL;
    [[maybe_unused]] const int ignored = ::ioctl(fd, FS_IOC_SETFLAGS, &flags);  // EOPNOTSUPP: never copies on write
}

}  // namespace tdfs

#include <algorithm>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

// The first byte of the wanted kind (SEEK_DATA or SEEK_HOLE) at or after `from`, at most `end`.
SysResult<std::uint64_t> seek_to(int fd, std::uint64_t from, std::uint64_t end, int what) {
    const auto at = ::lseek(fd, static_cast<off_t>(from), what);
    if (at >= 0) return std::min(static_cast<std::uint64_t>(at), end);
    if (errno == ENXIO) return end;  // beyond the end of the file there is neither
    return fail_last();
}

}  // namespace

SysResult<void> visit_extents(int fd, std::uint64_t offset, std::uint64_t end,
                              const std::function<bool(std::uint64_t, std::uint64_t, bool)>& visit) {
    std::uint64_t at = offset;
    while (at < end) {
        const auto data = seek_to(fd, at, end, SEEK_DATA);
        if (!data && data.error().value() == EINVAL) {  // a file system that cannot tell: all of it may be data
            visit(at, end - at, true);
            return {};
        }
        if (!data) return fail(data.error());
        if (*data > at && !visit(at, *data - at, false)) return {};
        if (*data >= end) return {};

        const auto hole = seek_to(fd, *data, end, SEEK_HOLE);
        if (!hole) return fail(hole.error());
        if (!visit(*data, *hole - *data, true)) return {};
        at = *hole;
    }
    return {};
}

}  // namespace tdfs

#include "common/journal/spare_segment.hpp"

#include <fcntl.h>

#include "common/journal/segment.hpp"
#include "common/os/file.hpp"

namespace tdfs {

namespace {

const std::string kSpareName = "spare";

SysResult<void> unlink_if_there(int dir) {
    if (::unlinkat(dir, kSpareName.c_str(), 0) != 0 && errno != ENOENT) return fail_last();
    return {};
}

}  // namespace

SysResult<void> SpareSegment::prepare(std::uint64_t keep_free) {
    const std::lock_guard lock(mutex_);
    return make(keep_free);
}

SysResult<OwnFd> SpareSegment::take_as(Lsn first) {
    const std::lock_guard lock(mutex_);
    if (auto made = make(keep_free_); !made) return fail(made.error());
    if (::renameat(dir_, kSpareName.c_str(), dir_, segment_name(first).c_str()) != 0) return fail_last();
    held_ = 0;
    return std::move(fd_);
}

SysResult<void> SpareSegment::remove() {
    const std::lock_guard lock(mutex_);
    fd_.reset();
    held_ = 0;
    return unlink_if_there(dir_);
}

SysResult<void> SpareSegment::make(std::uint64_t keep_free) {
    if (fd_) return {};
    if (auto room = leaves_free(dir_, bytes_, keep_free); !room) return room;
    auto fd = open_at(dir_, kSpareName, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (!fd) return fail(fd.error());
    write_in_place(fd->get());
    if (auto allocated = preallocate(fd->get(), 0, bytes_); !allocated) {
        [[maybe_unused]] const auto ignored = unlink_if_there(dir_);  // empty by now; the next try truncates it
        return allocated;
    }
    fd_ = std::move(*fd);
    held_ = bytes_;
    return {};
}

}  // namespace tdfs

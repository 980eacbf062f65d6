#include "master/effects.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "common/os/file.hpp"

namespace tdfs::effects {

SysResult<void> fallocate(int fd, const FallocateRecord& r) {
    while (::fallocate(fd, static_cast<int>(r.mode), static_cast<off_t>(r.offset), static_cast<off_t>(r.length)) != 0) {
        if (errno != EINTR) return fail_last();
    }
    return {};
}

SysResult<std::uint64_t> copy_range(int from, int to, const CopyRangeRecord& r) {
    std::uint64_t done = 0;
    while (done < r.length) {
        auto in = static_cast<off_t>(r.from_offset + done);
        auto out = static_cast<off_t>(r.offset + done);
        const ssize_t n = ::copy_file_range(from, &in, to, &out, r.length - done, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && done == 0) return fail_last();
        if (n <= 0) break;
        done += static_cast<std::uint64_t>(n);
    }
    return done;
}

SysResult<void> set_attributes(int fd, AttributesRecord& r) {
    const std::uint32_t wanted = r.valid;
    r.valid = wanted & AttributesRecord::kSettled;
    const std::string self = "/proc/self/fd/" + std::to_string(fd);
    if (wanted & AttributesRecord::kSize) {
        if (::truncate(self.c_str(), static_cast<off_t>(r.size)) != 0) return fail_last();
        r.valid |= AttributesRecord::kSize;
    }
    if (wanted & (AttributesRecord::kUid | AttributesRecord::kGid)) {
        const uid_t uid = wanted & AttributesRecord::kUid ? r.uid : static_cast<uid_t>(-1);
        const gid_t gid = wanted & AttributesRecord::kGid ? r.gid : static_cast<gid_t>(-1);
        if (::fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) return fail_last();
        r.valid |= wanted & (AttributesRecord::kUid | AttributesRecord::kGid);
    }
    if (wanted & AttributesRecord::kMode) {
        if (const auto done = change_mode(fd, r.mode & 07777); !done) return fail(done.error());
        r.valid |= AttributesRecord::kMode;
    } else if (wanted & (AttributesRecord::kUid | AttributesRecord::kGid)) {
        const auto info = stat_fd(fd);
        if (!info) return fail(info.error());
        if (!info->is_symlink()) {
            r.mode = info->mode & 07777;
            r.valid |= AttributesRecord::kMode;
        }
    }
    if (wanted & AttributesRecord::kMtime) {
        if (const auto done = set_mtime_fd(fd, r.mtime_ns); !done) return fail(done.error());
        r.valid |= AttributesRecord::kMtime;
    }
    return {};
}

std::uint32_t without_set_id(const FileInfo& info, const std::function<bool(gid_t)>& in_group) {
    std::uint32_t mode = info.mode & 07777;
    mode &= ~static_cast<std::uint32_t>(S_ISUID);
    if ((mode & S_ISGID) != 0 && ((mode & S_IXGRP) != 0 || !in_group(info.gid))) {
        mode &= ~static_cast<std::uint32_t>(S_ISGID);
    }
    return mode;
}

}  // namespace tdfs::effects

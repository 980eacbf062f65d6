// The records that change an object in place. Each may be repeated, whole or from any point within, with the same
// result.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "common/os/file.hpp"
#include "common/os/retry.hpp"
#include "slave/applier.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kPieceBytes = 1024 * 1024;
constexpr std::size_t kCopyPieceBytes = 128 * 1024 * 1024;
constexpr std::uint32_t kKeepSize = 1, kPunchHole = 2, kZeroRange = 16,
                        kUnshare = 64;  // FALLOC_FL_*: part of the format
constexpr std::uint64_t kMaxOffset = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());

Applied applied(const char* operation, const SysResult<void>& done) {
    if (!done) return apply_error(operation, done.error());
    return {};
}

SysResult<void> write_zeros(int fd, std::uint64_t offset, std::uint64_t length) {
    const Bytes zeros(std::min<std::uint64_t>(length, kPieceBytes), std::byte{0});
    while (length > 0) {
        const auto n = std::min<std::uint64_t>(length, zeros.size());
        if (auto done = write_all(fd, ByteView(zeros).first(n), offset); !done) return done;
        offset += n;
        length -= n;
    }
    return {};
}

// For a file system that cannot do it as asked: the bytes come out the same, only the disk space does not.
SysResult<void> allocate_by_hand(int fd, const FallocateRecord& r) {
    const auto is = stat_fd(fd);
    if (!is) return fail(is.error());
    const auto end = r.offset + r.length;
    if ((r.mode & (kPunchHole | kZeroRange)) != 0 && r.offset < is->size) {
        SysResult<void> zeroed;
        auto visited = visit_extents(fd, r.offset, std::min(end, is->size),
                                     [&](std::uint64_t offset, std::uint64_t length, bool is_data) {
                                         if (is_data) zeroed = write_zeros(fd, offset, length);
                                         return zeroed.has_value();
                                     });
        if (!visited) return visited;
        if (!zeroed) return zeroed;
    }
    const bool grows = (r.mode & kKeepSize) == 0 && end > is->size;
    if (grows && ::ftruncate(fd, static_cast<off_t>(end)) != 0) return fail_last();
    return {};
}

SysResult<void> copy_by_hand(int from, int to, std::uint64_t from_offset, std::uint64_t offset, std::uint64_t length) {
    Bytes piece(std::min<std::uint64_t>(length, kPieceBytes));
    while (length > 0) {
        const auto n = std::min<std::uint64_t>(length, piece.size());
        if (auto done = read_exact(from, std::span(piece).first(n), from_offset); !done) return done;
        if (auto done = write_all(to, ByteView(piece).first(n), offset); !done) return done;
        from_offset += n;
        offset += n;
        length -= n;
    }
    return {};
}

bool wants_copy_by_hand(int error) {
    return error == EXDEV || error == EINVAL || error == ENOSYS || error == EOPNOTSUPP || error == EBADF;
}

}  // namespace

Applied Applier::run(const WriteRecord& r) {
    if (auto kept = keep(r.path); !kept) return kept;
    const auto fd = tree_.writable(r.path);
    if (!fd) return apply_error("open for writing", fd.error());
    return applied("write", write_all(*fd, r.data, r.offset));
}

Applied Applier::run(const FallocateRecord& r) {
    // Those that shift content could not be repeated; a mount never passes them on.
    if ((r.mode & ~(kKeepSize | kPunchHole | kZeroRange | kUnshare)) != 0) {
        return Unexpected<ApplyError>(ApplyError{"a kind of fallocate that no master sends", Errno(EINVAL), true});
    }
    if (r.offset > kMaxOffset || r.length > kMaxOffset - r.offset) return apply_error("fallocate", Errno(EFBIG));
    if (auto kept = keep(r.path); !kept) return kept;
    const auto fd = tree_.writable(r.path);
    if (!fd) return apply_error("open for writing", fd.error());
    const int done = retry_interrupted([&] {
        return ::fallocate(*fd, static_cast<int>(r.mode), static_cast<off_t>(r.offset), static_cast<off_t>(r.length));
    });
    if (done == 0) return {};
    if (errno != EOPNOTSUPP && errno != ENOSYS) return apply_error("fallocate", Errno::last());
    return applied("fallocate", allocate_by_hand(*fd, r));
}

Applied Applier::run(const CopyRangeRecord& r) {
    if (r.from_offset > kMaxOffset || r.offset > kMaxOffset ||
        r.length > kMaxOffset - std::max(r.offset, r.from_offset)) {
        return apply_error("copy", Errno(EFBIG));
    }
    const auto from = tree_.readable(r.from_path);
    if (!from) return apply_error("open the source of a copy", from.error());
    if (auto kept = keep(r.path); !kept) return kept;
    const auto to = tree_.writable(r.path);
    if (!to) return apply_error("open for writing", to.error());
    return applied("copy", copy_range(r, from->get(), *to));
}

SysResult<void> Applier::copy_range(const CopyRangeRecord& r, int from, int to) {
    std::uint64_t done = 0;
    while (done < r.length) {
        auto from_at = static_cast<off_t>(r.from_offset + done);
        auto to_at = static_cast<off_t>(r.offset + done);
        const auto piece = std::min<std::uint64_t>(r.length - done, kCopyPieceBytes);
        const ssize_t n = retry_interrupted([&] { return ::copy_file_range(from, &from_at, to, &to_at, piece, 0); });
        if (n < 0 && !wants_copy_by_hand(errno)) return fail_last();
        if (n <= 0) return copy_by_hand(from, to, r.from_offset + done, r.offset + done, r.length - done);
        done += static_cast<std::uint64_t>(n);
    }
    return {};
}

Applied Applier::run(const AttributesRecord& r) {
    using A = AttributesRecord;
    if (auto kept = keep(r.path); !kept) return kept;
    if ((r.valid & A::kSize) != 0) {
        const auto fd = tree_.writable(r.path);
        if (!fd) return apply_error("open for writing", fd.error());
        if (r.size > kMaxOffset) return apply_error("truncate", Errno(EFBIG));
        const int done = retry_interrupted([&] { return ::ftruncate(*fd, static_cast<off_t>(r.size)); });
        if (done != 0) return apply_error("truncate", Errno::last());
    }
    const bool only_times = (r.valid & (A::kUid | A::kGid | A::kMode)) == 0;
    if (only_times && (r.valid & A::kMtime) != 0 && tree_.open_file(r.path) < 0) {
        const auto at = tree_.place(r.path);
        if (!at) return apply_error("find the directory", at.error());
        return applied("set times", set_mtime_at(at->dir, at->name, r.mtime_ns));
    }
    const auto fd = tree_.object(r.path);
    if (!fd) return apply_error("open", fd.error());
    if ((r.valid & (A::kUid | A::kGid)) != 0) {
        const auto uid = (r.valid & A::kUid) != 0 ? r.uid : static_cast<uid_t>(-1);
        const auto gid = (r.valid & A::kGid) != 0 ? r.gid : static_cast<gid_t>(-1);
        if (::fchownat(*fd, "", uid, gid, AT_EMPTY_PATH) != 0) return apply_error("chown", Errno::last());
    }
    if ((r.valid & A::kMode) != 0) {
        // Symlinks have no mode of their own; a chown of one may still carry the resolved bits.
        const auto done = change_mode(*fd, r.mode & kPermissions);
        const auto is = done ? SysResult<FileInfo>(FileInfo{}) : stat_fd(*fd);
        if (!done && !(is && is->is_symlink())) return apply_error("chmod", done.error());
    }
    if ((r.valid & A::kMtime) != 0) {
        if (auto done = set_mtime_fd(*fd, r.mtime_ns); !done) return apply_error("set times", done.error());
    }
    // Nobody writes to it now: programs may execute it, and watchers are told that it was closed.
    if ((r.valid & A::kSettled) != 0) tree_.close_file(r.path);
    return {};
}

Applied Applier::run(const SetXattrRecord& r) {
    if (auto kept = keep(r.path); !kept) return kept;
    const auto fd = tree_.object(r.path);
    if (!fd) return apply_error("open", fd.error());
    if (auto done = set_xattr(*fd, std::string(r.name), r.value); !done) return apply_error("set xattr", done.error());
    if (r.mode == SetXattrRecord::kAnyMode) return {};
    const auto is = stat_fd(*fd);
    if (!is) return apply_error("stat", is.error());
    if (is->is_symlink() || (is->mode & kPermissions) == (r.mode & kPermissions)) return {};
    return applied("chmod", change_mode(*fd, r.mode & kPermissions));
}

Applied Applier::run(const RemoveXattrRecord& r) {
    if (auto kept = keep(r.path); !kept) return kept;
    const auto fd = tree_.object(r.path);
    if (!fd) return apply_error("open", fd.error());
    const auto done = remove_xattr(*fd, std::string(r.name));
    if (!done && done.error().value() == ENODATA) return {};  // repeated
    return applied("remove xattr", done);
}

}  // namespace tdfs

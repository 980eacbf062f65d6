#include <fcntl.h>

#include <cstdio>

#include "common/os/file.hpp"
#include "common/os/retry.hpp"

namespace tdfs {

namespace {

SysResult<void> sync_fd(int fd) {
    if (retry_interrupted([&] { return ::fsync(fd); }) != 0) return fail_last();
    return {};
}

SysResult<void> write_new(int dir, const std::string& name, ByteView content, mode_t mode) {
    auto file = open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (!file) return fail(file.error());
    if (auto changed = change_mode(file->get(), mode); !changed) return changed;  // the umask took its part
    if (auto written = write_all(file->get(), content, 0); !written) return written;
    return sync_fd(file->get());
}

}  // namespace

SysResult<void> replace_file(int dir, const std::string& name, ByteView content, mode_t mode) {
    auto self = open_at(dir, "", O_RDONLY | O_DIRECTORY);  // `dir` may be O_PATH, which cannot be synced
    if (!self) return fail(self.error());

    const std::string temporary = name + ".new";  // always the same, so that crashes leave at most one behind
    if (::unlinkat(self->get(), temporary.c_str(), 0) != 0 && errno != ENOENT) return fail_last();
    auto written = write_new(self->get(), temporary, content, mode);
    if (written && ::renameat(self->get(), temporary.c_str(), self->get(), name.c_str()) != 0) written = fail_last();
    if (!written) {
        ::unlinkat(self->get(), temporary.c_str(), 0);  // its error would hide the one that matters
        return written;
    }
    return sync_fd(self->get());
}

SysResult<Bytes> read_file(int dir, const std::string& name, std::size_t limit_bytes) {
    auto file = open_at(dir, name, O_RDONLY | O_NONBLOCK);  // a fifo in its place must not block us
    if (!file) return fail(file.error());
    const auto info = stat_fd(file->get());
    if (!info) return fail(info.error());
    if (info->is_dir()) return fail(EISDIR);
    if (!info->is_regular()) return fail(EINVAL);
    if (info->size > limit_bytes) return fail(EFBIG);

    constexpr std::size_t kStepBytes = 64 * 1024;
    Bytes content;
    for (;;) {  // to the end, whatever the size said: files of /proc say 0, and others may grow
        const auto at = content.size();
        content.resize(at + kStepBytes);
        const auto got = read_some(file->get(), std::span(content).subspan(at), at);
        if (!got) return fail(got.error());
        content.resize(at + *got);
        if (content.size() > limit_bytes) return fail(EFBIG);
        if (*got < kStepBytes) return content;
    }
}

}  // namespace tdfs

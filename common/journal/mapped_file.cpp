#include "common/journal/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <utility>

#include "common/journal/segment.hpp"
#include "common/os/file.hpp"

namespace tdfs {

SysResult<MappedFile> MappedFile::open(int dir, const std::string& name, std::size_t bytes) {
    const auto fd = open_at(dir, name, O_RDWR | O_CREAT, 0600);
    if (!fd) return fail(fd.error());
    const auto info = stat_fd(fd->get());
    if (!info) return fail(info.error());
    if (info->size == 0) write_in_place(fd->get());
    if (info->size > bytes && ::ftruncate(fd->get(), static_cast<off_t>(bytes)) != 0) return fail_last();
    // From 0: a copy made by a backup tool may have holes.
    int error = 0;
    do {
        error = ::posix_fallocate(fd->get(), 0, static_cast<off_t>(bytes));
    } while (error == EINTR);
    if (error != 0) {
        if (info->size < bytes) {
            [[maybe_unused]] const int ignored = ::ftruncate(fd->get(), static_cast<off_t>(info->size));  // as it was
        }
        return fail(error);
    }
    void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0);
    if (data == MAP_FAILED) return fail_last();
    MappedFile file;
    file.data_ = static_cast<std::byte*>(data);
    file.bytes_ = bytes;
    return file;
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(data_, bytes_);  // fails only for what was never mapped
}

SysResult<void> MappedFile::flush() const {
    if (::msync(data_, bytes_, MS_SYNC) != 0) return fail_last();
    return {};
}

}  // namespace tdfs

// Directories: reading the names in them.
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "master/file_system.hpp"
#include "proto/path.hpp"

namespace tdfs {

SysResult<std::unique_ptr<OpenDirectory>> FileSystem::open_directory(Node* node) {
    OpLock lock(locks_);
    lock.read_object(node->id.ino);
    const auto dir = nodes_.directory(node);
    if (!dir) return fail(dir.error());
    auto fd = open_at((*dir)->get(), "", O_RDONLY | O_DIRECTORY);
    if (!fd) return fail(fd.error());
    auto directory = std::make_unique<OpenDirectory>(OpenDirectory{node, std::move(*fd)});
    nodes_.opened(node, directory->fd.get());
    return directory;
}

void FileSystem::close_directory(std::unique_ptr<OpenDirectory> directory) {
    OpLock lock(locks_);
    lock.change_object(directory->node->id.ino);
    nodes_.closed(directory->node, directory->fd.get());
}

// Offsets are those of the backing file system, which keeps them stable while names come and go.
SysResult<void> FileSystem::read_directory(OpenDirectory& directory, std::uint64_t offset,
                                           const std::function<bool(const DirEntry&)>& visit) {
    const int fd = directory.fd.get();
    if (::lseek(fd, static_cast<off_t>(offset), SEEK_SET) < 0) return fail_last();
    alignas(dirent64) char buffer[32 * 1024];
    while (true) {
        const ssize_t bytes = ::getdents64(fd, buffer, sizeof buffer);
        if (bytes < 0) return fail_last();
        if (bytes == 0) return {};
        for (ssize_t at = 0; at < bytes;) {
            const auto* const entry = reinterpret_cast<const dirent64*>(buffer + at);
            at += entry->d_reclen;
            const std::string_view name = entry->d_name;
            if (is_hidden(directory.node, name)) continue;
            if (!visit({name, entry->d_ino, entry->d_type, static_cast<std::uint64_t>(entry->d_off)})) return {};
        }
    }
}

// Offsets that a server may give away are not enough: an open directory of btrfs or tmpfs also knows where it ends, so that who
// renames what it lists does not go on for ever; one of overlayfs counts the names.
bool FileSystem::streams_have_no_state() const {
    struct statfs fs {};
    if (::fstatfs(root_, &fs) != 0) return false;
    return fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC;
}

SysResult<Lsn> FileSystem::fsync_directory(OpenDirectory& directory) {
    return synced([&] { return ::fsync(directory.fd.get()); });
}

}  // namespace tdfs

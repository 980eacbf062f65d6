// disk_recorder MOUNTPOINT BYTES LOG: a file system with one file, `disk`, for a loop device. Each write and flush goes to
// LOG before it is answered, one after the other, so that the log's beginning up to any entry is a moment of the disk's life.
//
// What is written is kept in memory. Ends with its mount, or by SIGTERM.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include <fuse_lowlevel.h>

#include "tests/faults/recorder/log.hpp"

namespace {

using namespace tdfs::faults;

constexpr fuse_ino_t kDiskIno = 2;
constexpr double kForever = 1e9;

struct Disk {
    std::byte* data = nullptr;
    std::uint64_t bytes = 0;
    int log = -1;
};

Disk& disk_of(fuse_req_t request) { return *static_cast<Disk*>(fuse_req_userdata(request)); }

// False: the log is full. Then nothing may be answered any more as if it were recorded.
bool note(const Disk& disk, std::uint64_t offset, std::uint32_t bytes, const char* data) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    LogEntry entry{static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec),
                   offset, bytes, 0};
    const std::size_t payload = bytes == kFlush ? 0 : bytes;
    // iovec takes what it writes from as non-const.
    const std::array<iovec, 2> parts{{{&entry, sizeof entry}, {const_cast<char*>(data), payload}}};
    return writev(disk.log, parts.data(), parts.size()) == static_cast<ssize_t>(sizeof entry + payload);
}

struct stat attributes(const Disk& disk, fuse_ino_t ino) {
    struct stat s {};
    s.st_ino = ino;
    s.st_nlink = 1;
    s.st_mode = ino == kDiskIno ? S_IFREG | 0600 : S_IFDIR | 0700;
    s.st_size = ino == kDiskIno ? static_cast<off_t>(disk.bytes) : 0;
    return s;
}

void look_up(fuse_req_t request, fuse_ino_t, const char* name) {
    if (std::strcmp(name, kDiskName) != 0) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    fuse_entry_param entry{};
    entry.ino = kDiskIno;
    entry.attr = attributes(disk_of(request), kDiskIno);
    entry.attr_timeout = entry.entry_timeout = kForever;
    fuse_reply_entry(request, &entry);
}

void get_attributes(fuse_req_t request, fuse_ino_t ino, fuse_file_info*) {
    const struct stat s = attributes(disk_of(request), ino);
    fuse_reply_attr(request, &s, kForever);
}

// mkfs and the kernel set times; nobody wants to know them.
void set_attributes(fuse_req_t request, fuse_ino_t ino, struct stat*, int what, fuse_file_info*) {
    if ((what & FUSE_SET_ATTR_SIZE) != 0) {
        fuse_reply_err(request, EPERM);
        return;
    }
    get_attributes(request, ino, nullptr);
}

void open_disk(fuse_req_t request, fuse_ino_t, fuse_file_info* file) { fuse_reply_open(request, file); }

void read_disk(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info*) {
    const Disk& disk = disk_of(request);
    const auto at = std::min(static_cast<std::uint64_t>(offset), disk.bytes);
    const auto n = std::min<std::uint64_t>(size, disk.bytes - at);
    fuse_reply_buf(request, reinterpret_cast<const char*>(disk.data + at), n);
}

void write_disk(fuse_req_t request, fuse_ino_t, const char* data, std::size_t size, off_t offset, fuse_file_info*) {
    const Disk& disk = disk_of(request);
    const auto at = static_cast<std::uint64_t>(offset);
    if (at > disk.bytes || size > disk.bytes - at) {
        fuse_reply_err(request, ENOSPC);
        return;
    }
    std::memcpy(disk.data + at, data, size);
    if (note(disk, at, static_cast<std::uint32_t>(size), data)) {
        fuse_reply_write(request, size);
    } else {
        fuse_reply_err(request, EIO);
    }
}

void flush_disk(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
    fuse_reply_err(request, note(disk_of(request), 0, kFlush, nullptr) ? 0 : EIO);
}

int serve(Disk& disk, const char* mountpoint) {
    fuse_lowlevel_ops ops{};
    ops.lookup = look_up;
    ops.getattr = get_attributes;
    ops.setattr = set_attributes;
    ops.open = open_disk;
    ops.read = read_disk;
    ops.write = write_disk;
    ops.fsync = flush_disk;

    std::string name = "disk_recorder";
    std::string option = "-ofsname=disk_recorder";
    std::array<char*, 3> words{name.data(), option.data(), nullptr};
    fuse_args args{2, words.data(), 0};
    fuse_session* session = fuse_session_new(&args, &ops, sizeof ops, &disk);
    if (session == nullptr) return 1;
    int status = 1;
    if (fuse_set_signal_handlers(session) == 0) {
        if (fuse_session_mount(session, mountpoint) == 0) {
            status = fuse_session_loop(session) < 0 ? 1 : 0;  // one thread: one answer after the other
            fuse_session_unmount(session);
        }
        fuse_remove_signal_handlers(session);
    }
    fuse_session_destroy(session);
    fuse_opt_free_args(&args);
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: disk_recorder MOUNTPOINT BYTES LOG\n");
        return 2;
    }
    Disk disk;
    disk.bytes = std::strtoull(argv[2], nullptr, 10);
    disk.log = open(argv[3], O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (disk.log < 0) {
        std::perror(argv[3]);
        return 1;
    }
    void* memory =
        mmap(nullptr, disk.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        std::perror("disk_recorder: memory for the disk");
        return 1;
    }
    disk.data = static_cast<std::byte*>(memory);
    const int status = serve(disk, argv[1]);
    munmap(memory, disk.bytes);
    close(disk.log);
    return status;
}

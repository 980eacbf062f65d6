// Content of files: reading and writing, sizes, holes, copies, mappings, locks.

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tests/e2e/posix/probe.hpp"

namespace tdfs::e2e {
namespace {

std::string pattern(std::size_t size, unsigned seed) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; i++) {
        seed = seed * 1664525 + 1013904223;
        text[i] = static_cast<char>(seed >> 24);
    }
    return text;
}

void reading_and_writing(Probe& p) {
    const int fd = p.open("file", O_RDWR | O_CREAT);
    for (const std::size_t size : {1u, 4095u, 4096u, 4097u, 65536u, 131072u, 131073u, 1000000u, 1048576u, 3000001u}) {
        const std::string text = pattern(size, static_cast<unsigned>(size));
        p.call("write", write(fd, text.data(), text.size()));
        p.call("pwrite", pwrite(fd, text.data(), text.size(), static_cast<off_t>(size / 3)));
        std::string back(size, '\0');
        p.call("pread", pread(fd, back.data(), back.size(), static_cast<off_t>(size / 3)));
        p.note("the same", back == text);
    }
    p.content("file");
    char byte = 0;
    DO(p, pread(fd, &byte, 1, 1000000000));
    DO(p, pwrite(fd, "far", 3, 20000000));
    DO(p, pread(fd, &byte, 1, 15000000));
    DO(p, lseek(fd, -1, SEEK_SET));
    DO(p, lseek(fd, -3, SEEK_END));
    DO(p, pwrite(fd, "x", 1, -1));
    const void* unreadable = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    DO(p, write(fd, unreadable, 10));
    iovec parts[3] = {{const_cast<char*>("one"), 3}, {nullptr, 0}, {const_cast<char*>("three"), 5}};
    DO(p, writev(fd, parts, 3));
    DO(p, pwritev2(fd, parts, 3, 0, RWF_APPEND));
    DO(p, pwritev2(fd, parts, 3, 7, RWF_SYNC));
    DO(p, fsync(fd));
    DO(p, fdatasync(fd));
    DO(p, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    p.content("file");

    const int read_only = p.open("file", O_RDONLY);
    DO(p, write(read_only, "x", 1));
    DO(p, ftruncate(read_only, 1));
    DO(p, fallocate(read_only, 0, 0, 10));
    const int write_only = p.open("file", O_WRONLY);
    DO(p, read(write_only, &byte, 1));
    const int dir = p.open(".", O_RDONLY | O_DIRECTORY);
    DO(p, read(dir, &byte, 1));
    DO(p, write(dir, "x", 1));
    DO(p, fsync(dir));
    p.fstat("file", fd);
}

void sizes(Probe& p) {
    p.make("file", "0123456789");
    for (const off_t size : {0L, 5L, 4096L, 4095L, 1000000L, 999L, -1L, 1L << 50}) {
        p.call("truncate " + std::to_string(size), truncate("file", size));
        p.stat("file");
    }
    const int fd = p.open("file", O_RDWR);
    DO(p, ftruncate(fd, 10));
    DO(p, ftruncate(fd, 20));
    DO(p, pwrite(fd, "end", 3, 17));
    DO(p, ftruncate(fd, -5));
    p.content("file");
    DO(p, truncate(".", 0));
    DO(p, truncate("missing", 0));
    p.must(mkfifo("fifo", 0644) == 0 && symlink("file", "link") == 0, "make");
    DO(p, truncate("fifo", 0));
    DO(p, truncate("link", 3));
    DO(p, truncate("theirs", 0));
    p.everything();

    const rlimit limit{5000, 5000};
    signal(SIGXFSZ, SIG_IGN);
    DO(p, setrlimit(RLIMIT_FSIZE, &limit));
    const std::string text(8000, 'l');
    DO(p, pwrite(fd, text.data(), text.size(), 0));
    DO(p, pwrite(fd, text.data(), text.size(), 5000));
    DO(p, ftruncate(fd, 6000));
    DO(p, fallocate(fd, 0, 0, 6000));
    p.fstat("limited", fd);
}

void large(Probe& p) {
    const int fd = p.open("large", O_RDWR | O_CREAT);
    const std::string text = pattern(100000, 5);
    for (const off_t at : {0L, (1L << 31) - 5000, (1L << 32) - 5000, 5L << 30, (1L << 40) + 1}) {
        p.call("pwrite at " + std::to_string(at), pwrite(fd, text.data(), text.size(), at));
    }
    p.fstat("large", fd);
    p.content("large");
    DO(p, ftruncate(fd, (1L << 32) + 1000));
    DO(p, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (1L << 31), 1L << 30));
    DO(p, lseek(fd, 0, SEEK_END));
    DO(p, write(fd, "end", 3));
    DO(p, pwrite(fd, "x", 1, 1L << 50));
    p.content("large");
}

void holes(Probe& p) {
    const int fd = p.open("sparse", O_RDWR | O_CREAT);
    p.preallocated("sparse");
    const std::string text = pattern(8192, 7);
    for (const off_t at : {16384L, 65536L, 1048576L}) {
        p.must(pwrite(fd, text.data(), text.size(), at) == static_cast<ssize_t>(text.size()), "pwrite");
    }
    for (const off_t at : {0L, 16384L, 20000L, 24576L, 30000L, 1056767L, 1056768L, 2000000L, -1L}) {
        p.call("data from " + std::to_string(at), lseek(fd, at, SEEK_DATA));
        p.call("hole from " + std::to_string(at), lseek(fd, at, SEEK_HOLE));
    }
    const int modes[] = {0,
                         FALLOC_FL_KEEP_SIZE,
                         FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         FALLOC_FL_PUNCH_HOLE,
                         FALLOC_FL_ZERO_RANGE,
                         FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                         0x4000};
    for (const int mode : modes) {
        for (const auto& [at, size] :
             {std::pair{0L, 4096L}, std::pair{10000L, 10000L}, std::pair{65536L, 8192L}, std::pair{1050000L, 500000L},
              std::pair{100L, 0L}, std::pair{-1L, 10L}, std::pair{10L, -1L}}) {
            p.call("fallocate " + std::to_string(mode) + " " + std::to_string(at) + " " + std::to_string(size),
                   fallocate(fd, mode, at, size));
            p.fstat("sparse", fd);
        }
        std::string back(2000000, '\0');
        const ssize_t n = pread(fd, back.data(), back.size(), 0);
        p.note("sum",
               static_cast<std::uint64_t>(std::count(back.begin(), back.begin() + std::max<ssize_t>(n, 0), '\0')));
    }
    DO(p, fallocate(p.open(".", O_RDONLY), 0, 0, 10));
    p.content("sparse");
}

void copies(Probe& p) {
    p.make("source", pattern(300000, 9));
    const int in = p.open("source", O_RDONLY);
    const int out = p.open("copy", O_RDWR | O_CREAT);
    loff_t from = 1000, to = 500;
    p.call("copy_file_range", copy_file_range(in, &from, out, &to, 200000, 0));
    p.note("positions", std::to_string(from) + " " + std::to_string(to));
    p.call("to the position", copy_file_range(in, nullptr, out, nullptr, 5000, 0));
    from = 299000;
    p.call("over the end", copy_file_range(in, &from, out, nullptr, 5000, 0));
    from = 400000;
    p.call("beyond the end", copy_file_range(in, &from, out, nullptr, 5000, 0));
    from = 0, to = 100000;
    p.call("within one file", copy_file_range(out, &from, out, &to, 50000, 0));
    from = 0, to = 100;
    p.call("overlapping", copy_file_range(out, &from, out, &to, 5000, 0));
    p.call("wrong flags", copy_file_range(in, &from, out, &to, 5000, 1));
    p.call("to a read-only one", copy_file_range(out, nullptr, in, nullptr, 10, 0));
    const int append = p.open("copy", O_WRONLY | O_APPEND);
    p.call("to an appending one", copy_file_range(in, nullptr, append, nullptr, 10, 0));
    off_t offset = 7;
    p.call("sendfile", sendfile(out, in, &offset, 100000));
    int ends[2];
    p.must(pipe(ends) == 0 && write(ends[1], "through a pipe", 14) == 14, "pipe");
    to = 3;
    p.call("splice", splice(ends[0], nullptr, out, &to, 14, 0));
    p.content("copy");
}

void direct(Probe& p) {
    void* memory = nullptr;
    p.must(posix_memalign(&memory, 4096, 1 << 20) == 0, "memory");
    auto* bytes = static_cast<char*>(memory);
    const std::string text = pattern(1 << 20, 3);
    std::memcpy(bytes, text.data(), text.size());
    const int fd = p.open("direct", O_RDWR | O_CREAT | O_DIRECT);
    p.call("write", write(fd, bytes, 1 << 20));
    p.call("pwrite", pwrite(fd, bytes, 8192, 4096));
    std::memset(bytes, 0, 1 << 20);
    p.call("pread", pread(fd, bytes, 65536, 4096));
    p.note("the same", std::memcmp(bytes, text.data(), 8192) == 0);
    p.call("at the end", pread(fd, bytes, 65536, (1 << 20) - 4096));
    const int buffered = p.open("direct", O_RDWR);
    DO(p, pwrite(buffered, "buffered", 8, 100));
    p.call("pread", pread(fd, bytes, 4096, 0));
    p.note("sees the buffered write", std::memcmp(bytes + 100, "buffered", 8) == 0);
    p.call("pwrite", pwrite(fd, bytes, 4096, 8192));
    char back[8];
    p.call("pread", pread(buffered, back, 8, 8192 + 100));
    p.note("sees the direct write", std::memcmp(back, "buffered", 8) == 0);
    DO(p, ftruncate(fd, 4096));
    p.content("direct");
    std::free(memory);
}

char* map(Probe& p, const std::string& what, int fd, std::size_t size, int protection, int flags) {
    void* at = mmap(nullptr, size, protection, flags, fd, 0);
    p.call(what, at == MAP_FAILED ? -1 : 0);
    return at == MAP_FAILED ? nullptr : static_cast<char*>(at);
}

void mappings(Probe& p) {
    constexpr int kBoth = PROT_READ | PROT_WRITE;
    constexpr std::size_t kSize = 50000;
    p.make("file", pattern(kSize, 1));
    const int fd = p.open("file", O_RDWR);
    char* shared = map(p, "shared", fd, kSize, kBoth, MAP_SHARED);
    char* own = map(p, "private", fd, kSize, kBoth, MAP_PRIVATE);
    if (shared == nullptr || own == nullptr) {
        return;
    }
    std::memcpy(shared + 10000, "stored", 6);
    std::memcpy(own + 20000, "hidden", 6);
    char text[8] = {};
    DO(p, pread(fd, text, 6, 10000));
    p.note("store seen by read", text);
    const int other = p.open("file", O_RDONLY);
    DO(p, pread(other, text, 6, 10000));
    p.note("store seen by another", text);
    DO(p, pwrite(fd, "written", 7, 30000));
    p.note("write seen in the mapping", std::string(shared + 30000, 7));
    const int write_only = p.open("file", O_WRONLY);
    DO(p, pwrite(write_only, "WRITTEN", 7, 40000));
    p.note("write by another seen", std::string(shared + 40000, 7));
    const char* reader = map(p, "read only", other, kSize, PROT_READ, MAP_SHARED);
    p.note("seen there", reader != nullptr ? std::string(reader + 40000, 7) : "");
    DO(p, msync(shared, kSize, MS_SYNC));
    p.content("file");

    // The mapping outlives its descriptors.
    close(fd);
    close(other);
    std::memcpy(shared, "after close", 11);
    DO(p, msync(shared, kSize, MS_SYNC));
    DO(p, munmap(shared, kSize));
    p.content("file");
    DO(p, munmap(own, kSize));

    // Beyond the end of the file there is nothing to touch.
    const int short_fd = p.open("short", O_RDWR | O_CREAT);
    DO(p, write(short_fd, "short", 5));
    char* beyond = map(p, "longer than the file", short_fd, 3 * 4096, kBoth, MAP_SHARED);
    const int zero = ::open("/dev/zero", O_RDONLY);
    p.call("within the last page", read(zero, beyond + 4000, 10));
    p.call("behind it", read(zero, beyond + 5000, 10));
    DO(p, ftruncate(short_fd, 6000));
    p.call("behind it, when grown", read(zero, beyond + 5000, 10));
    DO(p, ftruncate(short_fd, 3));
    p.call("when cut", read(zero, beyond + 5000, 10));
    DO(p, munmap(beyond, 3 * 4096));
    p.content("short");

    const int read_only = p.open("file", O_RDONLY);
    map(p, "shared and writable of a read-only one", read_only, 100, kBoth, MAP_SHARED);
    map(p, "private and writable of a read-only one", read_only, 100, kBoth, MAP_PRIVATE);
    map(p, "of a write-only one", write_only, 100, PROT_READ, MAP_SHARED);
    map(p, "of a directory", p.open(".", O_RDONLY), 100, PROT_READ, MAP_PRIVATE);
}

void mapped_by_two(Probe& p) {
    p.make("file", std::string(8192, '.'));
    const int fd = p.open("file", O_RDWR);
    char* shared = map(p, "shared", fd, 8192, PROT_READ | PROT_WRITE, MAP_SHARED);
    const pid_t child = fork();
    if (child == 0) {
        const int own = ::open("file", O_RDWR);
        void* at = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
        std::memcpy(static_cast<char*>(at) + 5000, "child", 5);
        _exit(at == MAP_FAILED ? 1 : 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    p.note("child", static_cast<std::uint64_t>(status));
    p.note("seen", std::string(shared + 5000, 5));
    DO(p, munmap(shared, 8192));
    p.content("file");
}

void statistics(Probe& p) {
    struct statvfs s {};
    DO(p, statvfs(".", &s));
    p.note("block size", s.f_bsize);
    p.note("fragment size", s.f_frsize);
    p.note("blocks", s.f_blocks);
    p.note("longest name", s.f_namemax);
    p.note("files", s.f_files);
    p.note("free is no more than all", s.f_bfree <= s.f_blocks && s.f_bavail <= s.f_bfree && s.f_ffree <= s.f_files);
}

// Asks in a child process, then reports how it ended.
template <typename Function>
void elsewhere(Probe& p, const std::string& what, Function function) {
    const pid_t child = fork();
    if (child == 0) {
        const int result = static_cast<int>(function());
        _exit(result < 0 ? errno : 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    p.note(what, WIFEXITED(status) ? std::to_string(WEXITSTATUS(status)) : "died");
}

struct flock range(short type, off_t start, off_t size) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = start;
    lock.l_len = size;
    return lock;
}

void locks(Probe& p) {
    p.make("file", "0123456789");
    const int fd = p.open("file", O_RDWR);
    const auto whole = [](int how) { return [how] { return flock(::open("file", O_RDWR), how | LOCK_NB); }; };
    DO(p, flock(fd, LOCK_SH));
    elsewhere(p, "shared too", whole(LOCK_SH));
    elsewhere(p, "exclusive", whole(LOCK_EX));
    DO(p, flock(fd, LOCK_EX));
    elsewhere(p, "shared", whole(LOCK_SH));
    DO(p, flock(fd, LOCK_UN));
    elsewhere(p, "exclusive now", whole(LOCK_EX));

    struct flock mine = range(F_WRLCK, 0, 5);
    DO(p, fcntl(fd, F_SETLK, &mine));
    const auto part = [fd](int command, short type, off_t start, off_t size) {
        return [=] {
            struct flock lock = range(type, start, size);
            return fcntl(fd, command, &lock);
        };
    };
    elsewhere(p, "overlapping", part(F_SETLK, F_RDLCK, 3, 3));
    elsewhere(p, "beside it", part(F_SETLK, F_WRLCK, 5, 5));
    elsewhere(p, "found", [fd] {
        struct flock lock = range(F_WRLCK, 0, 0);
        return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_WRLCK && lock.l_len == 5 && lock.l_pid == getppid()
                   ? 0
                   : -1;
    });
    struct flock open_file = range(F_WRLCK, 7, 2);
    DO(p, fcntl(fd, F_OFD_SETLK, &open_file));
    elsewhere(p, "the open file's", [] {
        struct flock lock = range(F_WRLCK, 8, 1);
        return fcntl(::open("file", O_RDWR), F_OFD_SETLK, &lock);
    });
    // Closing any descriptor of the file gives the process's locks up, but not the open file's.
    close(::open("file", O_RDONLY));
    elsewhere(p, "after a close", part(F_SETLK, F_WRLCK, 0, 5));
    elsewhere(p, "the open file's still", part(F_SETLK, F_WRLCK, 7, 1));

    // A waiting lock gets through when the holder dies, and can be interrupted.
    int ready[2];
    p.must(pipe2(ready, O_CLOEXEC) == 0, "pipe");
    const pid_t holder = fork();
    if (holder == 0) {
        struct flock lock = range(F_WRLCK, 0, 1);
        const int own = ::open("file", O_RDWR);
        if (fcntl(own, F_SETLK, &lock) == 0 && flock(own, LOCK_EX) == 0 && write(ready[1], "x", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    char byte = 0;
    p.must(read(ready[0], &byte, 1) == 1, "holder");
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGALRM, &action, nullptr);
    const int waiting = p.open("file", O_RDWR);
    ualarm(30000, 30000);  // again and again: one may come before the wait has begun
    struct flock want = range(F_WRLCK, 0, 1);
    DO(p, fcntl(waiting, F_SETLKW, &want));
    DO(p, flock(waiting, LOCK_EX));
    ualarm(0, 0);
    kill(holder, SIGKILL);
    DO(p, fcntl(waiting, F_SETLKW, &want));
    DO(p, flock(waiting, LOCK_EX));
    waitpid(holder, nullptr, 0);
}

const AddCase kCases[] = {
    AddCase{{"reading and writing", reading_and_writing}},
    AddCase{{"sizes", sizes, [](Probe& p) { p.make("theirs"); }}},
    AddCase{{"large", large}},
    AddCase{{"holes", holes}},
    AddCase{{"copies", copies}},
    AddCase{{"direct", direct}},
    AddCase{{"mappings", mappings}},
    AddCase{{"mapped by two", mapped_by_two}},
    AddCase{{"statistics", statistics}},
    AddCase{{"locks", locks}},
};

}  // namespace
}  // namespace tdfs::e2e

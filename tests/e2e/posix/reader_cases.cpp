// What readers see of a file that others write to: by a descriptor that is open all the time, by a new one, and in a mapping.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/posix/probe.hpp"

namespace tdfs::e2e {
namespace {

constexpr std::size_t kSize = 300'000;  // over several pages, the last one in part
constexpr std::size_t kMapped = 2 * kSize;

std::string text(std::size_t size, char first) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; i++) bytes[i] = static_cast<char>(first + i % 23);
    return bytes;
}

std::string sum(const std::string& bytes) {
    return std::to_string(bytes.size()) + " bytes, " + std::to_string(std::hash<std::string>{}(bytes));
}

std::string read_all(int fd) {
    std::string bytes(kMapped, '\0');
    const ssize_t n = pread(fd, bytes.data(), bytes.size(), 0);
    bytes.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    return bytes;
}

bool put(int flags, const std::string& bytes, off_t offset) {
    const int fd = open("file", flags);
    return fd >= 0 && pwrite(fd, bytes.data(), bytes.size(), offset) == static_cast<ssize_t>(bytes.size()) &&
           close(fd) == 0;
}

bool put_direct(char first, off_t offset) {
    constexpr std::size_t kBlock = 4096;
    const std::unique_ptr<void, void (*)(void*)> block(std::aligned_alloc(kBlock, kBlock), std::free);
    std::memset(block.get(), first, kBlock);
    const int fd = open("file", O_WRONLY | O_DIRECT);
    return fd >= 0 && pwrite(fd, block.get(), kBlock, offset) == static_cast<ssize_t>(kBlock) && close(fd) == 0;
}

bool store(const std::string& bytes, std::size_t offset) {
    const int fd = open("file", O_RDWR);
    void* const at = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return false;
    std::memcpy(static_cast<char*>(at) + offset, bytes.data(), bytes.size());
    return true;  // neither synced nor unmapped: the process ends
}

bool fallocate_it(int mode, off_t offset, off_t length) {
    const int fd = open("file", O_WRONLY);
    return fd >= 0 && fallocate(fd, mode, offset, length) == 0 && close(fd) == 0;
}

bool copy_into(off_t offset, std::size_t length) {
    const int from = open("other", O_RDONLY), to = open("file", O_WRONLY);
    off_t at = 100;
    while (length > 0) {
        const ssize_t n = copy_file_range(from, &at, to, &offset, length, 0);
        if (n <= 0) return false;
        length -= static_cast<std::size_t>(n);
    }
    return true;
}

void seen_by_readers(Probe& p) {
    p.make("file", text(kSize, 'a'));
    p.make("other", text(kSize, 'A'));
    const std::vector<std::pair<const char*, std::function<bool()>>> changes = {
        {"nothing", [] { return true; }},
        {"a write by who only writes", [] { return put(O_WRONLY, text(5000, '0'), 10'000); }},
        {"a large one", [] { return put(O_WRONLY, text(200'000, '1'), 50'001); }},
        {"a write by who also reads", [] { return put(O_RDWR, text(5000, '2'), 20'000); }},
        {"a store through a mapping", [] { return store(text(9000, '3'), 30'000); }},
        {"a write over the store", [] { return put(O_WRONLY, text(100, '4'), 31'000); }},
        {"a direct write", [] { return put_direct('x', 8192); }},
        {"an appended piece", [] { return put(O_WRONLY | O_APPEND, text(7777, '5'), 0); }},
        {"a hole punched", [] { return fallocate_it(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 100'000); }},
        {"zeroes", [] { return fallocate_it(FALLOC_FL_ZERO_RANGE, 150'000, 3000); }},
        {"a copy within the kernel", [] { return copy_into(60'000, 80'000); }},
        {"cut", [] { return truncate("file", 123'457) == 0; }},
        {"grown again", [] { return truncate("file", 222'222) == 0; }},
        {"a write behind the end", [] { return put(O_WRONLY, text(10, '6'), 290'000); }},
        {"new content", [] { return put(O_WRONLY | O_TRUNC, text(kSize, '7'), 0); }},
        {"new content, read as well", [] { return put(O_RDWR | O_TRUNC, text(kSize, '8'), 0); }},
        {"another file in its place", [] { return rename("other", "file") == 0; }},
    };
    const int fd = p.open("file", O_RDONLY);
    const void* const mapped = mmap(nullptr, kMapped, PROT_READ, MAP_SHARED, fd, 0);
    p.must(mapped != MAP_FAILED, "mmap");
    for (const auto& [name, change] : changes) {
        const pid_t child = fork();
        if (child == 0) _exit(change() ? 0 : 1);
        int status = -1;
        p.must(waitpid(child, &status, 0) == child && status == 0, name);

        struct stat st {};
        p.must(::fstat(fd, &st) == 0, "fstat");
        p.note(std::string("after ") + name + ", size", static_cast<std::uint64_t>(st.st_size));
        const std::string read = read_all(fd);
        p.note("read", sum(read));
        p.must(read == std::string(static_cast<const char*>(mapped), read.size()), "the mapping has what is read");
        const int fresh = p.open("file", O_RDONLY);
        p.note("read by a new descriptor", sum(read_all(fresh)));
        close(fresh);
    }
}

const AddCase kCases[] = {
    AddCase{{"seen by readers", seen_by_readers}},
};

}  // namespace
}  // namespace tdfs::e2e

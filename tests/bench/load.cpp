// What bench.py times, without an interpreter's cost: load JOB DIR COUNT prints the seconds that the job took.
// All jobs of one kind of data use the same names, so that one may use what another left: `write` makes DIR/file.

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMiB = 1024 * 1024;
constexpr std::size_t kBlock = 4096;
constexpr std::size_t kFilesOfADirectory = 100;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "load: %s: %s\n", what.c_str(), std::strerror(errno));
    std::exit(1);
}

class File {
  public:
    File(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
        if (fd_ < 0) fail(path);
    }
    ~File() { ::close(fd_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    void write(const char* data, std::size_t size, off_t at) const {
        if (::pwrite(fd_, data, size, at) != static_cast<ssize_t>(size)) fail("write");
    }
    void read(char* data, std::size_t size, off_t at) const {
        if (::pread(fd_, data, size, at) != static_cast<ssize_t>(size)) fail("read");
    }
    void sync() const {
        if (::fsync(fd_) != 0) fail("fsync");
    }
    [[nodiscard]] off_t size() const {
        struct stat st {};
        if (::fstat(fd_, &st) != 0) fail("fstat");
        return st.st_size;
    }

  private:
    int fd_;
};

// Not compressible, the same in each run.
std::string noise(std::size_t size) {
    std::mt19937_64 random(1);
    std::string data(size, '\0');
    for (std::size_t i = 0; i + 8 <= size; i += 8) {
        const std::uint64_t word = random();
        std::memcpy(&data[i], &word, 8);
    }
    return data;
}

void write_pieces(const std::string& dir, std::size_t count, std::size_t piece, bool sync) {
    const std::string data = noise(piece);
    const File file(dir + "/file", O_WRONLY | O_CREAT | O_TRUNC);
    for (std::size_t i = 0; i < count; ++i) file.write(data.data(), piece, static_cast<off_t>(i * piece));
    if (sync) file.sync();
}

void read_all(const std::string& dir, std::size_t count) {
    std::string data(kMiB, '\0');
    const File file(dir + "/file", O_RDONLY);
    for (std::size_t i = 0; i < count; ++i) file.read(data.data(), kMiB, static_cast<off_t>(i * kMiB));
}

template <class Do>
void at_random_blocks(const File& file, std::size_t count, Do each) {
    std::mt19937_64 random(2);
    const auto blocks = static_cast<std::uint64_t>(file.size()) / kBlock;
    if (blocks == 0) fail("the file is too small");
    for (std::size_t i = 0; i < count; ++i) each(static_cast<off_t>((random() % blocks) * kBlock));
}

std::string small_file(const std::string& dir, std::size_t i) {
    return dir + "/files/" + std::to_string(i / kFilesOfADirectory) + "/file" + std::to_string(i);
}

void create_files(const std::string& dir, std::size_t count) {
    const std::string data = noise(kBlock);
    if (::mkdir((dir + "/files").c_str(), 0755) != 0) fail("mkdir");
    for (std::size_t i = 0; i < count; ++i) {
        if (i % kFilesOfADirectory == 0) {
            const std::string path = dir + "/files/" + std::to_string(i / kFilesOfADirectory);
            if (::mkdir(path.c_str(), 0755) != 0) fail(path);
        }
        const File file(small_file(dir, i), O_WRONLY | O_CREAT | O_EXCL);
        file.write(data.data(), data.size(), 0);
    }
}

void stat_files(const std::string& dir, std::size_t count) {
    struct stat st {};
    for (std::size_t i = 0; i < count; ++i) {
        if (::stat(small_file(dir, i).c_str(), &st) != 0) fail("stat");
    }
}

void list_files(const std::string& dir, std::size_t count) {
    for (std::size_t i = 0; i < count; i += kFilesOfADirectory) {
        const std::string path = dir + "/files/" + std::to_string(i / kFilesOfADirectory);
        DIR* const open = ::opendir(path.c_str());
        if (open == nullptr) fail(path);
        while (::readdir(open) != nullptr) {
        }
        ::closedir(open);
    }
}

void delete_files(const std::string& dir, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        if (::unlink(small_file(dir, i).c_str()) != 0) fail("unlink");
    }
    for (std::size_t i = 0; i < count; i += kFilesOfADirectory) {
        if (::rmdir((dir + "/files/" + std::to_string(i / kFilesOfADirectory)).c_str()) != 0) fail("rmdir");
    }
    if (::rmdir((dir + "/files").c_str()) != 0) fail("rmdir");
}

// Whether something happens in the directory within a second. Nothing spins while a replica is to do its work.
void wait_for_event(int events) {
    pollfd p{events, POLLIN, 0};
    std::array<char, 4096> told{};
    if (::poll(&p, 1, 1000) == 1 && ::read(events, told.data(), told.size()) < 0) fail("watch the replica");
}

// From before a write() of 100 bytes to the moment when they are read on the replica; one at a time, with a pause between.
int delays(const std::string& dir, const std::string& replica, std::size_t count) {
    constexpr std::size_t kSize = 100;
    std::vector<double> us;
    const int events = ::inotify_init1(IN_CLOEXEC);
    if (events < 0 || ::inotify_add_watch(events, replica.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
        fail("watch the replica");
    const File out(dir + "/delay", O_WRONLY | O_CREAT | O_TRUNC);
    std::uint64_t number = 0;
    for (std::size_t i = 0; i <= count; ++i) {
        std::string data(kSize, '\0');
        ++number;
        std::memcpy(data.data(), &number, sizeof number);
        const auto begin = Clock::now();
        out.write(data.data(), kSize, 0);
        for (std::uint64_t seen = 0; seen != number;) {
            wait_for_event(events);
            const int fd =
                ::open((replica + "/delay").c_str(), O_RDONLY | O_CLOEXEC);  // some put a new file in its place
            if (fd >= 0 && ::pread(fd, &seen, sizeof seen, 0) < 0) fail("read the replica");
            if (fd >= 0) ::close(fd);
            if (Clock::now() - begin > std::chrono::seconds(60)) fail("nothing came after 60 s");
        }
        const std::chrono::duration<double, std::micro> took = Clock::now() - begin;
        if (i > 0) us.push_back(took.count());  // the first waits for the file to be made
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    ::close(events);
    std::sort(us.begin(), us.end());
    std::printf("%.1f %.1f\n", us[us.size() / 2], us[us.size() * 99 / 100]);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::map<std::string, std::function<void(const std::string&, std::size_t)>> jobs{
        {"write", [](const auto& dir, std::size_t n) { write_pieces(dir, n, kMiB, true); }},
        {"write1m", [](const auto& dir, std::size_t n) { write_pieces(dir, n, kMiB, false); }},
        {"write4k", [](const auto& dir, std::size_t n) { write_pieces(dir, n, kBlock, false); }},
        {"read", read_all},
        {"randread",
         [](const auto& dir, std::size_t n) {
             std::string data(kBlock, '\0');
             const File file(dir + "/file", O_RDONLY);
             at_random_blocks(file, n, [&](off_t at) { file.read(data.data(), kBlock, at); });
         }},
        {"randwrite",
         [](const auto& dir, std::size_t n) {
             const std::string data = noise(kBlock);
             const File file(dir + "/file", O_RDWR);
             at_random_blocks(file, n, [&](off_t at) { file.write(data.data(), kBlock, at); });
         }},
        {"osync",
         [](const auto& dir, std::size_t n) {
             const std::string data = noise(kBlock);
             const File file(dir + "/file", O_WRONLY | O_CREAT | O_SYNC);
             for (std::size_t i = 0; i < n; ++i) file.write(data.data(), kBlock, static_cast<off_t>(i * kBlock));
         }},
        {"create", create_files},
        {"stat", stat_files},
        {"list", list_files},
        {"delete", delete_files},
    };
    const std::string job = argc > 1 ? argv[1] : "";
    const std::size_t count = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 0;
    if (job == "delay" && argc == 5 && count > 0) return delays(argv[2], argv[4], count);
    const auto found = jobs.find(job);
    if (found == jobs.end() || argc != 4 || count == 0) {
        std::fprintf(stderr, "usage: load JOB DIR COUNT, or load delay DIR COUNT REPLICA; jobs:");
        for (const auto& [name, run] : jobs) std::fprintf(stderr, " %s", name.c_str());
        std::fprintf(stderr, "\n");
        return 2;
    }
    const auto begin = Clock::now();
    found->second(argv[2], count);
    const std::chrono::duration<double> took = Clock::now() - begin;
    std::printf("%.6f\n", took.count());
    return 0;
}

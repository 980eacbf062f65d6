// --writeback: the kernel keeps what is written for a while. What holds nevertheless.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;

namespace {

// So long that nothing is pushed out in a test's time, but by what the test is about.
const Words kNever{"--writeback=60000"};

class File {
  public:
    File(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0644)) { REQUIRE(fd_ >= 0); }
    ~File() { close(); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    [[nodiscard]] int fd() const { return fd_; }
    void write(const std::string& text, off_t at) const {
        REQUIRE(pwrite(fd_, text.data(), text.size(), at) == static_cast<ssize_t>(text.size()));
    }
    void append(const std::string& text) const {
        REQUIRE(::write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    int close() {
        const int result = fd_ < 0 || ::close(fd_) == 0 ? 0 : errno;
        fd_ = -1;
        return result;
    }

  private:
    int fd_;
};

std::int64_t mtime_of(const std::string& path) {
    struct stat s {};
    if (stat(path.c_str(), &s) != 0) return -1;
    return std::int64_t{s.st_mtim.tv_sec} * 1'000'000'000 + s.st_mtim.tv_nsec;
}

bool holds(const std::string& path, const std::string& text) {
    return access(path.c_str(), F_OK) == 0 && read_file(path) == text;
}

// Mount, backing directory and replica agree on the time of a file.
bool same_times(const Cluster& cluster, const std::string& name) {
    const auto time = mtime_of(cluster.mount() + name);
    return time == mtime_of(cluster.backing() + name) && time == mtime_of(cluster.replica() + name);
}

std::string numbered(std::size_t bytes) {
    std::string text;
    for (std::size_t i = 0; text.size() < bytes; i++) text += std::to_string(i) + "\n";
    text.resize(bytes);
    return text;
}

}  // namespace

TEST_CASE("what is written is on the replica a little later, while the file stays open") {
    Cluster cluster({.master_args = {"--writeback=50"}});
    CHECK(cluster.master_status().at("fuse").at("writeback_ms") == 50);
    const File file(cluster.mount() + "/file", O_WRONLY | O_CREAT);
    std::string text;
    for (int i = 0; i < 3; i++) {
        file.append("line " + std::to_string(i) + "\n");
        text += "line " + std::to_string(i) + "\n";
        CHECK(eventually([&] { return holds(cluster.replica() + "/file", text); }));
        CHECK(eventually([&] { return same_times(cluster, "/file"); }));
    }
}

TEST_CASE("a drain pushes out first what the kernel keeps of open files") {
    Cluster cluster({.master_args = kNever});
    const File file(cluster.mount() + "/file", O_WRONLY | O_CREAT);
    file.append("kept");
    cluster.drain();
    CHECK(holds(cluster.replica() + "/file", "kept"));
    CHECK(same_times(cluster, "/file"));
}

TEST_CASE("a close comes after what was written, and so does an fsync") {
    Cluster cluster({.master_args = kNever});
    const std::string text = numbered(300'000);
    for (int i = 0; i < 20; i++) {
        const std::string name = "/file" + std::to_string(i);
        File file(cluster.mount() + name, O_WRONLY | O_CREAT);
        file.append(text);
        if (i % 2 == 0) {
            CHECK(fsync(file.fd()) == 0);
        } else {
            CHECK(file.close() == 0);
        }
        CHECK(holds(cluster.backing() + name, text));  // so whatever is done from now on is later in history
        CHECK(eventually([&] { return same_times(cluster, name); }));
    }
    cluster.drain();
    CHECK(cluster.differences() == "");
}

TEST_CASE("a file that is only written is written in part of a page") {
    Cluster cluster({.master_args = kNever});
    write_to(cluster.mount() + "/file", numbered(10'000));
    cluster.stop_master();
    cluster.start_master();  // the kernel has none of its pages
    std::string text = numbered(10'000);
    {
        const File file(cluster.mount() + "/file", O_WRONLY);
        file.write("new", 5'000);
        text.replace(5'000, 3, "new");
    }
    CHECK(read_file(cluster.mount() + "/file") == text);
    CHECK(holds(cluster.backing() + "/file", text));
}

TEST_CASE("stores through a shared mapping are pushed out while it is mapped") {
    Cluster cluster({.master_args = {"--writeback=50"}});
    const std::string path = cluster.mount() + "/file";
    write_to(path, std::string(8192, '.'));
    std::string text(8192, '.');
    char* at = nullptr;
    {
        const File file(path, O_RDWR);
        at = static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0));
        REQUIRE(at != MAP_FAILED);
    }
    for (const std::size_t where : {0U, 5000U, 1U}) {
        at[where] = text[where] = 'x';
        CHECK(eventually([&] { return holds(cluster.replica() + "/file", text); }));
    }
    CHECK(eventually([&] { return same_times(cluster, "/file"); }));
    at[8000] = text[8000] = 'y';
    munmap(at, 8192);
    cluster.drain();
    CHECK(holds(cluster.replica() + "/file", text));
    CHECK(same_times(cluster, "/file"));
}

TEST_CASE("two processes that append lose no line of each other's") {
    Cluster cluster({.master_args = {"--writeback=20"}});
    const std::string path = cluster.mount() + "/log";
    std::vector<pid_t> writers;
    constexpr int kLines = 2000;
    for (int w = 0; w < 2; w++) {
        const pid_t pid = fork();
        if (pid == 0) {
            const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
            for (int i = 0; i < kLines; i++) {
                const std::string line = std::to_string(w) + " " + std::to_string(i) + "\n";
                if (::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(1);
            }
            _exit(close(fd) == 0 ? 0 : 1);
        }
        writers.push_back(pid);
    }
    for (const pid_t pid : writers) {
        int status = -1;
        REQUIRE(waitpid(pid, &status, 0) == pid);
        CHECK(status == 0);
    }
    cluster.drain();
    const std::string text = read_file(cluster.replica() + "/log");
    int next[2] = {0, 0};
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at);
        REQUIRE(end != std::string::npos);
        const int w = text[at] - '0';
        REQUIRE((w == 0 || w == 1));
        REQUIRE(text.substr(at + 2, end - at - 2) == std::to_string(next[w]++));
        at = end + 1;
    }
    CHECK(next[0] == kLines);
    CHECK(next[1] == kLines);
    CHECK(cluster.differences() == "");
}

TEST_CASE("truncating, preallocating and punching agree with what is not written yet") {
    Cluster cluster({.master_args = {"--writeback=20"}});
    std::string text = numbered(100'000);
    const File file(cluster.mount() + "/file", O_RDWR | O_CREAT);
    file.write(text, 0);
    CHECK(ftruncate(file.fd(), 30'001) == 0);
    text.resize(30'001);
    CHECK(ftruncate(file.fd(), 50'000) == 0);
    text.resize(50'000, '\0');
    file.write("end", 60'000);
    text.resize(60'000, '\0');
    text += "end";
    CHECK(fallocate(file.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1'000, 9'000) == 0);
    text.replace(1'000, 9'000, 9'000, '\0');
    CHECK(fallocate(file.fd(), 0, 0, 70'000) == 0);
    text.resize(70'000, '\0');
    struct stat s {};
    CHECK(fstat(file.fd(), &s) == 0);
    CHECK(s.st_size == 70'000);
    CHECK(read_file(cluster.mount() + "/file") == text);
    CHECK(eventually([&] { return holds(cluster.replica() + "/file", text); }));
    CHECK(eventually([&] { return same_times(cluster, "/file"); }));
}

TEST_CASE("a copy within the mount has what is not written yet of its source") {
    Cluster cluster({.master_args = kNever});
    const File from(cluster.mount() + "/from", O_RDWR | O_CREAT);
    from.write("begin", 0);
    REQUIRE(fsync(from.fd()) == 0);
    from.write("end", 100'000);  // the backing file ends after the first word
    std::string text = "begin" + std::string(99'995, '\0') + "end";
    File to(cluster.mount() + "/to", O_RDWR | O_CREAT);
    off_t in = 0, out = 0;
    while (in < 50'000) {
        REQUIRE(copy_file_range(from.fd(), &in, to.fd(), &out, static_cast<std::size_t>(50'000 - in), 0) > 0);
    }
    while (in < static_cast<off_t>(text.size())) {
        REQUIRE(copy_file_range(from.fd(), &in, to.fd(), &out, text.size() - static_cast<std::size_t>(in), 0) > 0);
    }
    CHECK(to.close() == 0);
    CHECK(read_file(cluster.mount() + "/to") == text);
    CHECK(holds(cluster.backing() + "/to", text));
}

TEST_CASE("what is not written yet does not look like a hole") {
    Cluster cluster({.master_args = kNever});
    const File file(cluster.mount() + "/file", O_RDWR | O_CREAT);
    REQUIRE(ftruncate(file.fd(), 1 << 20) == 0);
    file.write("data", 500'000);
    const off_t data = lseek(file.fd(), 0, SEEK_DATA);
    CHECK(data >= 0);
    CHECK(data <= 500'000);
    CHECK(lseek(file.fd(), 500'000, SEEK_HOLE) >= 500'004);
}

TEST_CASE("a time that is set after a write stays, and one that a later write sets is on the replica") {
    Cluster cluster({.master_args = {"--writeback=20"}});
    const std::string path = cluster.mount() + "/file";
    File file(path, O_WRONLY | O_CREAT);
    for (int i = 0; i < 20; i++) {
        file.write(numbered(10'000 + static_cast<std::size_t>(i) * 5'000), 0);
        const timespec times[2] = {{0, UTIME_OMIT}, {1'000'000 + i, 123'456'789}};
        REQUIRE(futimens(file.fd(), times) == 0);
        CHECK(mtime_of(path) == (1'000'000 + i) * 1'000'000'000LL + 123'456'789);
        CHECK(mtime_of(path) == mtime_of(cluster.backing() + "/file"));
    }
    cluster.drain();
    CHECK(same_times(cluster, "/file"));
    file.write("later", 0);
    CHECK(mtime_of(path) > 2'000'000 * 1'000'000'000LL);
    CHECK(file.close() == 0);
    CHECK(eventually([&] { return same_times(cluster, "/file"); }));
    cluster.drain();
    CHECK(same_times(cluster, "/file"));
}

// The pages arrive after the time that the kernel has told with them: that one stays.
TEST_CASE("files that are written in many pieces have the time of their last write everywhere") {
    Cluster cluster({.master_args = {"--writeback=10"}});
    const std::string piece = numbered(70'000);
    for (int i = 0; i < 8; i++) {
        const std::string name = "/file" + std::to_string(i);
        File file(cluster.mount() + name, O_WRONLY | O_CREAT);
        for (int n = 0; n < 40; n++) file.append(piece);
        CHECK(file.close() == 0);
    }
    cluster.drain();
    for (int i = 0; i < 8; i++) {
        INFO(i);
        CHECK(eventually([&] { return same_times(cluster, "/file" + std::to_string(i)); }));
    }
    CHECK(cluster.differences() == "");
}

TEST_CASE("a disk that is full is told at close and at fsync") {
    Cluster cluster(
        {.master_args = {"--writeback=60000", "--segment-bytes", "8388800", "--reserve", "8388608"}, .start = false});
    REQUIRE(mount("none", cluster.backing().c_str(), "tmpfs", 0, "size=48m") == 0);
    cluster.start_all();
    const std::string text(64 << 20, 'x');
    File closed(cluster.mount() + "/closed", O_WRONLY | O_CREAT);
    File synced(cluster.mount() + "/synced", O_WRONLY | O_CREAT);
    REQUIRE(write(closed.fd(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    CHECK(closed.close() == ENOSPC);
    REQUIRE(write(synced.fd(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    CHECK((fsync(synced.fd()) != 0 && errno == ENOSPC));
    synced.close();
    CHECK(unlink((cluster.mount() + "/closed").c_str()) == 0);
    CHECK(unlink((cluster.mount() + "/synced").c_str()) == 0);
    cluster.drain();
    CHECK(cluster.differences() == "");
    cluster.stop_master();
}

TEST_CASE("a master that is killed with unwritten pages ends, and its replica is what the backing directory is") {
    Cluster cluster({.master_args = {"--writeback=10"}});
    for (int round = 0; round < 3; round++) {
        const pid_t writer = fork();
        if (writer == 0) {
            std::signal(SIGTERM, SIG_DFL);
            const std::string piece = numbered(100'000);
            const int fd = open((cluster.mount() + "/file").c_str(), O_WRONLY | O_CREAT, 0644);
            off_t at = 0;
            while (pwrite(fd, piece.data(), piece.size(), at % (4 << 20)) > 0) at += static_cast<off_t>(piece.size());
            _exit(0);
        }
        CHECK(eventually([&] { return read_file(cluster.replica() + "/file").size() > 200'000; }));
        cluster.kill_master();  // returns when the process is gone, none of its threads in the kernel
        ::kill(writer, SIGKILL);
        CHECK(waitpid(writer, nullptr, 0) == writer);
        cluster.start_master();
        cluster.wait_streaming();
        cluster.drain();
        CHECK(cluster.differences() == "");
        CHECK(unlink((cluster.mount() + "/file").c_str()) == 0);
        cluster.drain();
    }
}

TEST_CASE("a master that is told to stop writes out what open files have left, and an unmount ends it") {
    Cluster cluster({.master_args = kNever});
    {
        const File file(cluster.mount() + "/file", O_WRONLY | O_CREAT);
        file.append("left");
        ::kill(cluster.master_pid(), SIGTERM);
        cluster.forget_master();
        CHECK(holds(cluster.backing() + "/file", "left"));
        CHECK(eventually([&] { return holds(cluster.replica() + "/file", "left"); }));
    }
    cluster.start_master();
    write_to(cluster.mount() + "/file", "more");
    cluster.stop_master();
    CHECK(cluster.differences() == "");
}

#include "tests/faults/recorder/recording.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>

#include "tests/faults/recorder/log.hpp"

namespace tdfs::faults {
namespace {

std::system_error failed(const std::string& what) { return {errno, std::generic_category(), what}; }

class File {
  public:
    File(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0600)) {
        if (fd_ < 0) {
            throw failed(path);
        }
    }
    ~File() { close(fd_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    [[nodiscard]] int fd() const { return fd_; }

  private:
    int fd_;
};

// The log, as far as it is written now.
class MappedLog {
  public:
    explicit MappedLog(const std::string& path) {
        const File file(path, O_RDONLY);
        struct stat s {};
        if (fstat(file.fd(), &s) != 0) {
            throw failed(path);
        }
        bytes_ = static_cast<std::size_t>(s.st_size);
        at_ = mmap(nullptr, std::max<std::size_t>(bytes_, 1), PROT_READ, MAP_PRIVATE, file.fd(), 0);
        if (at_ == MAP_FAILED) {
            throw failed(path);
        }
    }
    ~MappedLog() { munmap(at_, std::max<std::size_t>(bytes_, 1)); }
    MappedLog(const MappedLog&) = delete;
    MappedLog& operator=(const MappedLog&) = delete;

    // Calls `see` with each entry up to `moment`, its data, and its place in the log.
    template <class See>
    void each_until(MomentNs moment, const See& see) const {
        const auto* begin = static_cast<const std::byte*>(at_);
        for (std::size_t at = 0; at + sizeof(LogEntry) <= bytes_;) {
            LogEntry entry{};
            std::memcpy(&entry, begin + at, sizeof entry);
            const std::size_t payload = entry.bytes == kFlush ? 0 : entry.bytes;
            if (entry.time_ns > moment || payload > bytes_ - at - sizeof entry) {
                return;
            }
            see(entry, begin + at + sizeof entry, at);
            at += sizeof entry + payload;
        }
    }

  private:
    void* at_;
    std::size_t bytes_ = 0;
};

void put(int fd, const std::byte* data, std::size_t bytes, std::uint64_t offset) {
    if (pwrite(fd, data, bytes, static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes)) {
        throw failed("an image of a disk");
    }
}

}  // namespace

MomentNs moment_now() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<MomentNs>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

Image make_image(const std::string& log_path, MomentNs moment, const Loss& loss, const std::string& image_path,
                 std::uint64_t bytes) {
    const MappedLog log(log_path);
    const File image(image_path, O_WRONLY | O_CREAT | O_EXCL);
    if (ftruncate(image.fd(), static_cast<off_t>(bytes)) != 0) {
        throw failed(image_path);
    }
    std::size_t last_flush = 0;
    log.each_until(moment, [&](const LogEntry& entry, const std::byte*, std::size_t at) {
        if (entry.bytes == kFlush) {
            last_flush = at;
        }
    });
    Image made;
    std::uniform_real_distribution<> share(0, 1);
    log.each_until(moment, [&](const LogEntry& entry, const std::byte* data, std::size_t at) {
        if (entry.bytes == kFlush) {
            return;
        }
        for (std::uint32_t done = 0; done < entry.bytes;) {
            const std::uint64_t offset = entry.offset + done;
            const auto to_edge = static_cast<std::uint32_t>(kSectorBytes - offset % kSectorBytes);
            const std::uint32_t n = std::min(entry.bytes - done, to_edge);
            const bool flushed = at < last_flush;
            const bool lost = !flushed && loss.kept < 1 && share(*loss.random) >= loss.kept;
            made.written++;
            made.at_risk += flushed ? 0 : 1;
            made.lost += lost ? 1 : 0;
            if (!lost) {
                put(image.fd(), data + done, n, offset);
            }
            done += n;
        }
    });
    return made;
}

MomentNs some_entry(const std::string& log_path, MomentNs from, MomentNs to, std::mt19937_64& random) {
    const MappedLog log(log_path);
    MomentNs chosen = to;
    std::size_t seen = 0;
    log.each_until(to, [&](const LogEntry& entry, const std::byte*, std::size_t) {
        if (entry.time_ns >= from && random() % ++seen == 0) {
            chosen = entry.time_ns;
        }
    });
    return chosen;
}

}  // namespace tdfs::faults

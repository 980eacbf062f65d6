#include <fcntl.h>

#include <ctime>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

std::uint64_t clock_ns(clockid_t id) {
    timespec now{};
    TDFS_INVARIANT(::clock_gettime(id, &now) == 0, "the clock can be read");
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

std::string read_boot_id() {
    constexpr std::size_t kLimitBytes = 256;
    const auto raw = read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", kLimitBytes);
    std::string id(raw ? as_text(*raw) : std::string_view());
    while (!id.empty() && (id.back() == '\n' || id.back() == ' ')) id.pop_back();
    // Not to know is to take each start for a new boot, which costs a quick resync and nothing else.
    return id.empty() ? "unknown-" + VolumeId::random().text() : id;
}

}  // namespace

std::uint64_t wall_clock_ns() { return clock_ns(CLOCK_REALTIME); }

std::uint64_t monotonic_ns() { return clock_ns(CLOCK_MONOTONIC); }

std::string boot_id() {
    static const std::string id = read_boot_id();
    return id;
}

}  // namespace tdfs

// What /proc/self/mountinfo tells.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tdfs {

inline constexpr std::string_view kTdfsType = "fuse.tdfs";  // what our mounts are called there

struct Mount {
    int id = 0;
    std::string point;  // where, as this process sees it; bytes, unescaped
    std::string type;   // "ext4", "fuse.tdfs"
    std::string source;
    std::string device;  // "98:0"
};

// In the kernel's order: where two have the same point, the last one is on top. Lines not understood are left out.
[[nodiscard]] std::vector<Mount> parse_mountinfo(std::string_view text);
[[nodiscard]] std::vector<Mount> current_mounts();  // empty where /proc cannot be read
// The mount an open descriptor lies on.
[[nodiscard]] std::optional<Mount> mount_of(int fd);

}  // namespace tdfs

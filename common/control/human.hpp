// Numbers as people read them. The same in every locale.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tdfs {

[[nodiscard]] std::string human_bytes(std::uint64_t bytes);     // "0 B", "1.2 KiB", "35 MiB"
[[nodiscard]] std::string human_rate(double bytes_per_second);  // "35 MiB/s", "-" for nothing
[[nodiscard]] std::string human_seconds(double seconds);        // "0.3 s", "45 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"
[[nodiscard]] std::string progress_bar(double share, int width);  // "[####....]" for a share of 0 to 1
// A number with K, M, G or T (of 1024), which may be followed by B or iB.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);
// Columns it takes on a terminal, for UTF-8 text without wide or combining characters.
[[nodiscard]] std::size_t shown_width(std::string_view text);

}  // namespace tdfs

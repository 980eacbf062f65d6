#include "common/control/human.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>

namespace tdfs {

namespace {

// One decimal below ten, none above: three digits at most before the unit changes.
std::string rounded(double value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), value < 9.95 ? "%.1f" : "%.0f", value);
    return text.data();
}

std::string two_units(std::uint64_t total, std::uint64_t small_per_big, const char* big, const char* small) {
    return std::to_string(total / small_per_big) + " " + big + " " + std::to_string(total % small_per_big) + " " +
           small;
}

}  // namespace

std::string human_bytes(std::uint64_t bytes) {
    constexpr std::array<const char*, 6> kUnits{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) return std::to_string(bytes) + " B";
    auto value = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    for (; value >= 1023.5 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
    return rounded(value) + " " + kUnits[unit];
}

std::string human_rate(double bytes_per_second) {
    if (!(bytes_per_second >= 1) || bytes_per_second > 1e18) return "-";
    return human_bytes(static_cast<std::uint64_t>(bytes_per_second)) + "/s";
}

std::string human_seconds(double seconds) {
    if (!(seconds >= 0) || seconds > 1e12) return "?";
    if (seconds < 59.5) return rounded(seconds) + " s";
    const auto total = static_cast<std::uint64_t>(std::llround(seconds));
    if (total < 3600) return two_units(total, 60, "min", "s");
    if (total < 24 * 3600) return two_units(total / 60, 60, "h", "min");
    return two_units(total / 3600, 24, "d", "h");
}

std::string progress_bar(double share, int width) {
    const auto full = static_cast<std::size_t>(width);
    const auto done = static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * width);
    return "[" + std::string(done, '#') + std::string(full - done, '.') + "]";
}

std::size_t shown_width(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80; }));
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    std::uint64_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc() || text.empty() || text.front() == '-') return std::nullopt;
    std::string_view unit = text.substr(static_cast<std::size_t>(parsed.ptr - text.data()));
    if (unit.empty()) return value;
    constexpr std::string_view kUnits = "KMGT";
    const auto power = kUnits.find(unit.front() >= 'a' ? static_cast<char>(unit.front() - 'a' + 'A') : unit.front());
    unit.remove_prefix(1);
    if (power == std::string_view::npos || (!unit.empty() && unit != "B" && unit != "iB")) return std::nullopt;
    const auto shift = 10 * (power + 1);
    if (value > std::numeric_limits<std::uint64_t>::max() >> shift) return std::nullopt;
    return value << shift;
}

}  // namespace tdfs

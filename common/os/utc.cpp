#include "common/os/utc.hpp"

#include <array>
#include <cstdio>
#include <ctime>

namespace tdfs {

namespace {

std::string up_to_seconds(std::uint64_t ns) {
    const auto seconds = static_cast<std::time_t>(ns / 1'000'000'000);
    std::tm parts{};
    std::array<char, 40> text{};
    if (::gmtime_r(&seconds, &parts) == nullptr) return {};
    return {text.data(), std::strftime(text.data(), text.size(), "%FT%T", &parts)};
}

}  // namespace

std::string utc_text(std::uint64_t ns) {
    const std::string text = up_to_seconds(ns);
    return text.empty() ? "?" : text + "Z";
}

std::string utc_text_micros(std::uint64_t ns) {
    const std::string text = up_to_seconds(ns);
    std::array<char, 16> micros{};
    std::snprintf(micros.data(), micros.size(), ".%06uZ", static_cast<unsigned>(ns % 1'000'000'000 / 1000));
    return text.empty() ? "?" : text + micros.data();
}

}  // namespace tdfs

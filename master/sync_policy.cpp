#include "master/sync_policy.hpp"

#include <array>
#include <charconv>
#include <optional>

namespace tdfs {

namespace {

using Level = Publisher::Level;
using Late = SyncPolicy::Late;

constexpr double kLongestSeconds = 86'400;

struct Halves {
    std::string first;
    std::optional<std::string> second;  // behind the colon
};

Halves split(const std::string& text) {
    const auto colon = text.find(':');
    if (colon == std::string::npos) return {text, std::nullopt};
    return {text.substr(0, colon), text.substr(colon + 1)};
}

// The value among `all` that is called so.
template <class T, std::size_t N>
std::optional<T> named(const std::string& name, const std::array<T, N>& all) {
    for (const T value : all) {
        if (name == to_text(value)) return value;
    }
    return std::nullopt;
}

}  // namespace

const char* to_text(Level level) {
    if (level == Level::kReceived) return "received";
    return level == Level::kDurable ? "durable" : "applied";
}

const char* to_text(Late late) { return late == Late::kDegrade ? "degrade" : "block"; }

Result<void, std::string> parse_sync(const std::string& text, std::size_t targets, SyncPolicy& policy) {
    const auto [number, name] = split(text);
    std::size_t slaves = 0;
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), slaves);
    if (parsed.ec != std::errc() || parsed.ptr != number.data() + number.size() || slaves == 0) {
        return Unexpected<std::string>(
            "--sync " + text + " is not K or K:received, K:durable, K:applied (how many slaves fsync waits for)");
    }
    if (name) {
        const auto level = named(*name, std::array{Level::kReceived, Level::kDurable, Level::kApplied});
        if (!level) {
            return Unexpected<std::string>("--sync " + text + ": the level is received, durable or applied, not \"" +
                                           *name + "\"");
        }
        policy.level = *level;
    }
    if (slaves > targets) {
        return Unexpected<std::string>("--sync " + text + " wants more slaves than there are: -c names " +
                                       std::to_string(targets));
    }
    policy.slaves = slaves;
    return {};
}

Result<void, std::string> parse_sync_timeout(const std::string& text, SyncPolicy& policy) {
    const auto [number, name] = split(text);
    double seconds = -1;
    const auto parsed =
        std::from_chars(number.data(), number.data() + number.size(), seconds, std::chars_format::fixed);
    const bool whole = parsed.ec == std::errc() && parsed.ptr == number.data() + number.size();
    if (!whole || !(seconds > 0 && seconds <= kLongestSeconds)) {
        return Unexpected<std::string>(
            "--sync-timeout " + text +
            " is not SECONDS or SECONDS:degrade, SECONDS:block (more than 0, at most a day)");
    }
    if (name) {
        const auto late = named(*name, std::array{Late::kDegrade, Late::kBlock});
        if (!late) {
            return Unexpected<std::string>("--sync-timeout " + text +
                                           ": behind the colon comes degrade or block, not \"" + *name + "\"");
        }
        policy.late = *late;
    }
    policy.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
    return {};
}

}  // namespace tdfs

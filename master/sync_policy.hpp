// What --sync and --sync-timeout ask for.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "common/stream/publisher.hpp"

namespace tdfs {

struct SyncPolicy {
    enum class Late { kDegrade, kBlock };  // what happens when too few slaves are there in time

    std::size_t slaves = 0;  // 0: fsync is about this machine alone
    Publisher::Level level = Publisher::Level::kDurable;
    std::chrono::milliseconds timeout{10'000};
    Late late = Late::kDegrade;

    [[nodiscard]] bool on() const { return slaves != 0; }
};

// "K" or "K:received|durable|applied"; "SECONDS" or "SECONDS:degrade|block" (a fraction is allowed). The error says what is
// wanted instead. K is at most `targets`, the number of slaves there are.
Result<void, std::string> parse_sync(const std::string& text, std::size_t targets, SyncPolicy& policy);
Result<void, std::string> parse_sync_timeout(const std::string& text, SyncPolicy& policy);

[[nodiscard]] const char* to_text(Publisher::Level level);
[[nodiscard]] const char* to_text(SyncPolicy::Late late);

}  // namespace tdfs

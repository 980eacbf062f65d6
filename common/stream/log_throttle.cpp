#include "common/stream/log_throttle.hpp"

#include <algorithm>

namespace tdfs {

bool LogThrottle::worth_a_line(const std::string& address, const std::string& kind, std::uint64_t now_ns) {
    auto key = std::pair(address, kind);
    const auto known = logged_.find(key);
    if (known != logged_.end()) {
        if (now_ns - known->second < kQuietNs) return false;
        known->second = now_ns;
        return true;
    }
    if (logged_.size() >= kMaxEntries) {
        logged_.erase(std::min_element(logged_.begin(), logged_.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; }));
    }
    logged_.emplace(std::move(key), now_ns);
    return true;
}

}  // namespace tdfs

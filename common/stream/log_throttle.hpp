// Keeps strangers from filling the log.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace tdfs {

// Says whether an event of this kind from this address is worth a line: once a minute. Bounded: beyond kMaxEntries
// addresses and kinds, the one that was logged longest ago is forgotten. Not thread-safe.
class LogThrottle {
  public:
    static constexpr std::size_t kMaxEntries = 256;
    static constexpr std::uint64_t kQuietNs = 60'000'000'000;

    [[nodiscard]] bool worth_a_line(const std::string& address, const std::string& kind, std::uint64_t now_ns);
    [[nodiscard]] std::size_t size() const { return logged_.size(); }

  private:
    std::map<std::pair<std::string, std::string>, std::uint64_t> logged_;
};

}  // namespace tdfs

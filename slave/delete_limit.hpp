// How many deletions are too many: the option --delete-limit, and the count that is held against it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace tdfs {

// At most `count` within `seconds`, or at most `percent` of the objects that were there.
struct DeleteLimit {
    std::uint64_t count = 0;
    double percent = 0;  // 0: `count` holds
    std::uint64_t seconds = 3600;

    [[nodiscard]] std::string text() const;  // as it is written on the command line
};

// "1000/60" (number/seconds), "5%" (within an hour) or "5%/600".
[[nodiscard]] std::optional<DeleteLimit> parse_delete_limit(std::string_view text);

// Counts deletions over a window that moves along with them, in steps of a 64th of it; at its far end it counts a step
// too much rather than too few. Takes the same memory for any limit. Not thread-safe.
class DeleteCount {
  public:
    // `objects(enough)`: how many there are now, counted no further than that.
    using Objects = std::function<std::uint64_t(std::uint64_t enough)>;
    DeleteCount(const DeleteLimit& limit, Objects objects);

    // Whether `more` deletions at this time stay within the limit; then they are counted. Times do not go back.
    bool admit(std::uint64_t time_ns, std::uint64_t more);
    [[nodiscard]] std::uint64_t counted() const { return counted_; }  // within the window
    void clear();

  private:
    static constexpr std::uint64_t kSteps = 64;
    void move_to(std::uint64_t step);
    bool is_within(std::uint64_t deletions);

    const DeleteLimit limit_;
    const Objects objects_;
    const std::uint64_t step_ns_;
    std::array<std::uint64_t, kSteps + 1> steps_{};
    std::uint64_t now_ = 0;  // number of the latest step
    std::uint64_t counted_ = 0;
    std::uint64_t allowed_ = 0;  // of a percentage: that many are within it, as of the last look
};

}  // namespace tdfs

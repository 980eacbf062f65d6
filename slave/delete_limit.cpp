#include "slave/delete_limit.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace tdfs {

namespace {

constexpr std::uint64_t kMostSeconds = 366ull * 24 * 3600;
constexpr std::uint64_t kNsOfSecond = 1'000'000'000;

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
    Number value{};
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || text.front() == '-') return std::nullopt;
    return value;
}

}  // namespace

std::string DeleteLimit::text() const {
    if (percent == 0) return std::to_string(count) + "/" + std::to_string(seconds);
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), percent).ptr;
    return std::string(digits.data(), end) + "%/" + std::to_string(seconds);
}

std::optional<DeleteLimit> parse_delete_limit(std::string_view text) {
    DeleteLimit limit;
    const auto slash = text.find('/');
    auto amount = text.substr(0, slash);
    if (slash != std::string_view::npos) {
        const auto seconds = parse_number<std::uint64_t>(text.substr(slash + 1));
        if (!seconds || *seconds == 0 || *seconds > kMostSeconds) return std::nullopt;
        limit.seconds = *seconds;
    }
    if (amount.empty()) return std::nullopt;
    if (amount.back() == '%') {
        amount.remove_suffix(1);
        const auto percent = amount.empty() ? std::nullopt : parse_number<double>(amount);
        if (!percent || !(*percent > 0) || !(*percent <= 100)) return std::nullopt;
        limit.percent = *percent;
        return limit;
    }
    const auto count = parse_number<std::uint64_t>(amount);
    if (!count || slash == std::string_view::npos) return std::nullopt;
    limit.count = *count;
    return limit;
}

DeleteCount::DeleteCount(const DeleteLimit& limit, Objects objects)
    : limit_(limit),
      objects_(std::move(objects)),
      step_ns_(std::max<std::uint64_t>(1, limit.seconds * kNsOfSecond / kSteps)) {}

void DeleteCount::clear() {
    steps_.fill(0);
    counted_ = allowed_ = 0;
}

void DeleteCount::move_to(std::uint64_t step) {
    if (step <= now_) return;
    const auto gone = std::min<std::uint64_t>(step - now_, steps_.size());
    for (std::uint64_t i = 1; i <= gone; ++i) {
        auto& old = steps_[(now_ + i) % steps_.size()];
        counted_ -= old;
        old = 0;
    }
    now_ = step;
    allowed_ = 0;
}

// Objects are counted only as far as it matters, and the next time only when as many more have been deleted.
bool DeleteCount::is_within(std::uint64_t deletions) {
    if (limit_.percent == 0) return deletions <= limit_.count;
    if (deletions <= allowed_) return true;
    const auto needed = [&](std::uint64_t d) {
        return static_cast<std::uint64_t>(std::ceil(static_cast<double>(d) * 100 / limit_.percent));
    };
    const auto there = objects_(needed(deletions * 2)) + counted_;  // as many as there were before the window
    if (there < needed(deletions)) return false;
    allowed_ = static_cast<std::uint64_t>(static_cast<double>(there) * limit_.percent / 100);
    return true;
}

bool DeleteCount::admit(std::uint64_t time_ns, std::uint64_t more) {
    move_to(time_ns / step_ns_);
    if (!is_within(counted_ + more)) return false;
    counted_ += more;
    steps_[now_ % steps_.size()] += more;
    return true;
}

}  // namespace tdfs

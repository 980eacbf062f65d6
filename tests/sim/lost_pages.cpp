#include "tests/sim/lost_pages.hpp"

#include <algorithm>

namespace tdfs::sim {

namespace {

constexpr std::uint64_t kPage = 4096;

// Zeros beyond the end.
Bytes page_of(const Bytes& data, std::uint64_t number) {
    Bytes page(kPage);
    const auto at = number * kPage;
    if (at < data.size()) std::copy_n(&data[at], std::min<std::uint64_t>(kPage, data.size() - at), page.begin());
    return page;
}

}  // namespace

void LostPages::lose(const Object& now, const Object& on_disk, Random& random) {
    const auto mood = random.below(3);
    for (std::uint64_t number = 0; number * kPage < now.data.size(); ++number) {
        auto page = page_of(now.data, number);
        if (page == page_of(on_disk.data, number)) continue;
        if (mood == 0 || (mood == 1 && random.one_in(2))) pages_[now.ino][number] = std::move(page);
    }
}

void LostPages::written(std::uint64_t ino, std::uint64_t offset, std::uint64_t bytes) {
    const auto it = pages_.find(ino);
    if (it == pages_.end() || bytes == 0) return;
    it->second.erase(it->second.lower_bound(offset / kPage), it->second.upper_bound((offset + bytes - 1) / kPage));
    if (it->second.empty()) pages_.erase(it);
}

void LostPages::cut(std::uint64_t ino, std::uint64_t size) {
    const auto it = pages_.find(ino);
    if (it == pages_.end()) return;
    it->second.erase(it->second.lower_bound(size / kPage), it->second.end());
    if (it->second.empty()) pages_.erase(it);
}

void LostPages::take_back(Object& result, const Object& now, const Object& on_disk) {
    const auto it = pages_.find(now.ino);
    if (it == pages_.end()) return;
    auto& lost = it->second;
    std::erase_if(lost, [&](const auto& page) { return page_of(now.data, page.first) != page.second; });
    for (const auto& [number, shown] : lost) {
        const auto at = number * kPage;
        if (at >= result.data.size()) continue;
        const auto old = page_of(on_disk.data, number);
        std::copy_n(old.begin(), std::min<std::uint64_t>(kPage, result.data.size() - at), &result.data[at]);
    }
    if (lost.empty()) pages_.erase(it);
}

}  // namespace tdfs::sim

#include "tests/e2e/harness/scale.hpp"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>

namespace tdfs::e2e {

namespace {

bool built_with_sanitizer() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return true;
#else
    return false;
#endif
#else
    return false;
#endif
}

}  // namespace

bool sanitized() { return built_with_sanitizer() || std::getenv("TDFS_SANITIZED") != nullptr; }

std::size_t scaled(std::size_t n, std::size_t at_least) {
    const char* text = std::getenv("TDFS_TEST_SCALE");
    const double factor = text != nullptr ? std::strtod(text, nullptr) : (sanitized() ? 0.15 : 1.0);
    return std::max(at_least, static_cast<std::size_t>(static_cast<double>(n) * factor));
}

std::chrono::seconds patience() { return std::chrono::seconds(sanitized() ? 300 : 120); }

std::uint64_t seed_for(const std::string& what) {
    const char* text = std::getenv("TDFS_SEED");
    const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device{}();
    std::cout << what << ": TDFS_SEED=" << seed << std::endl;
    return seed;
}

}  // namespace tdfs::e2e

#include "common/resync/look_ahead.hpp"

#include <fcntl.h>

#include <system_error>

#include "common/os/file.hpp"

namespace tdfs {
namespace {

constexpr std::size_t kFirstNames = 8;  // are they in memory, the others are taken to be there too
constexpr std::uint64_t kQuickStatNs = 10'000;

}  // namespace

LookAhead::~LookAhead() {
    if (!active()) return;
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
}

// Before there are threads nobody else is there.
std::unique_lock<std::mutex> LookAhead::lock() {
    return active() ? std::unique_lock(mutex_) : std::unique_lock<std::mutex>();
}

void LookAhead::soon(const std::string& path) {
    {
        const auto held = lock();
        ahead_.push_back(path);
    }
    if (active()) wake_.notify_one();
}

void LookAhead::took(std::uint64_t ns, std::size_t names) {
    {
        const auto held = lock();
        if (!ahead_.empty()) ahead_.pop_front();
        if (next_ > 0) --next_;
    }
    if (active() || ns < kQuickNs + names * kQuickNsOfAName) return;
    try {
        while (threads_.size() < kThreads) threads_.emplace_back([this] { run(); });
    } catch (const std::system_error&) {  // no more are to be had: the walk does without
    }
}

void LookAhead::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stop_ || next_ < ahead_.size(); });
        if (stop_) return;
        const std::string path = ahead_[next_++];
        lock.unlock();
        look_at(path);
        lock.lock();
    }
}

// Errors are the walk's to meet. Another thread's destruction waits for one call here, not for a directory of a million names.
void LookAhead::look_at(const std::string& path) {
    const auto dir = open_beneath(root_, path, O_RDONLY | O_DIRECTORY);
    if (!dir) return;
    const auto names = read_dir(dir->get());
    if (!names) return;
    const auto begin = monotonic_ns();
    std::size_t seen = 0;
    for (const auto& name : *names) {
        static_cast<void>(stat_at(dir->get(), name.name));
        if (++seen == kFirstNames && monotonic_ns() - begin < kFirstNames * kQuickStatNs) return;
        if (stop_) return;
    }
}

}  // namespace tdfs

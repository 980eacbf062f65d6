#include "master/retention.hpp"

#include <algorithm>

namespace tdfs {

Lsn retention_floor(Lsn oldest, Lsn tail, std::optional<Lsn> slowest, const RetentionLimits& limits) {
    const auto back = [&](std::uint64_t bytes) { return tail - oldest > bytes ? Lsn(tail.bytes() - bytes) : oldest; };
    const Lsn by_limit = back(limits.retain_bytes);
    if (!slowest) return by_limit;
    return std::max(by_limit, std::min(*slowest, back(limits.spare_bytes)));
}

Housekeeper::Housekeeper(std::function<void()> task) : task_(std::move(task)), thread_([this] { run(); }) {}

Housekeeper::~Housekeeper() {
    {
        const std::lock_guard guard(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void Housekeeper::run() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::seconds(1), [this] { return stopping_; })) {
        lock.unlock();
        task_();
        lock.lock();
    }
}

}  // namespace tdfs

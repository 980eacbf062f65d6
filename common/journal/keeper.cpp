#include "common/journal/keeper.hpp"

namespace tdfs {

void Keeper::start(std::function<void()> work) {
    thread_ = std::thread([this, work = std::move(work)] {
        std::unique_lock lock(mutex_);
        for (;;) {
            kicked_.wait(lock, [this] { return wanted_ || stopped_; });
            if (stopped_) return;
            wanted_ = false;
            lock.unlock();
            work();
            lock.lock();
        }
    });
}

void Keeper::kick() {
    const std::lock_guard lock(mutex_);
    wanted_ = true;
    kicked_.notify_one();
}

void Keeper::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        kicked_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
}

}  // namespace tdfs

// An inspection as whoever ordered it sees it.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "proto/inspect.hpp"

namespace tdfs {

// A mailbox between the session's thread, which fills it, and the one that waits for it. Shared by both. Findings that
// are not taken are bounded: beyond kMaxKept they are only counted. Thread-safe.
class InspectJob {
  public:
    static constexpr std::size_t kMaxKept = 100'000;
    explicit InspectJob(InspectStart order) : order_(std::move(order)) {}

    [[nodiscard]] const InspectStart& order() const { return order_; }

    struct News {
        std::vector<Finding> findings;  // since the last call
        std::uint64_t left_out = 0;     // findings that nobody took in time, in all
        InspectProgress progress;
        bool done = false;
        std::string error;  // why it could not be done
    };
    [[nodiscard]] News take() {
        const std::lock_guard lock(mutex_);
        News news = news_;
        news_.findings.clear();
        return news;
    }
    void cancel() { cancelled_ = true; }
    [[nodiscard]] bool cancelled() const { return cancelled_; }

    void add(std::vector<Finding> findings) {
        const std::lock_guard lock(mutex_);
        for (auto& f : findings) {
            if (news_.findings.size() >= kMaxKept) {
                ++news_.left_out;
            } else {
                news_.findings.push_back(std::move(f));
            }
        }
    }
    void progress(InspectProgress progress) {
        const std::lock_guard lock(mutex_);
        news_.progress = std::move(progress);
    }
    // The first end counts.
    void finish(const InspectCounts* counts, std::string error) {
        const std::lock_guard lock(mutex_);
        if (news_.done) return;
        if (counts != nullptr) news_.progress.counts = *counts;
        news_.done = true;
        news_.error = std::move(error);
    }

  private:
    const InspectStart order_;
    std::atomic<bool> cancelled_{false};
    std::mutex mutex_;
    News news_;  // guarded by mutex_
};

}  // namespace tdfs

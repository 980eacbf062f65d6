#include "master/scrub.hpp"

#include <chrono>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {
constexpr std::uint32_t kScrubLookMs = 200;
constexpr std::uint32_t kFirstScrubMs = 1000;  // the slaves are to be connected
}  // namespace

void Scrub::start() {
    if (options_.rate == 0) return;
    status_.rate = options_.rate;
    thread_ = std::thread([this] { run(); });
}

void Scrub::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

ScrubStatus Scrub::status() const {
    const std::lock_guard lock(mutex_);
    return status_;
}

bool Scrub::pause(std::uint32_t ms) {
    std::unique_lock lock(mutex_);
    return !wake_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return stopping_; });
}

void Scrub::run() {
    for (std::uint32_t wait_ms = kFirstScrubMs; pause(wait_ms); wait_ms = options_.pause_ms) {
        std::uint64_t checked = 0;
        bool all = true;
        for (const auto& peer : publisher_.status()) {
            const bool done = inspect(peer.target);
            checked += done ? 1 : 0;
            all = all && done;
            if (!pause(0)) return;
        }
        const std::lock_guard lock(mutex_);
        status_.slave.clear();
        status_.at.clear();
        status_.share = 0;
        if (checked == 0) continue;
        status_.passes += all ? 1 : 0;
        if (all) status_.last_pass = wall_clock_ns() / 1'000'000'000;
    }
}

bool Scrub::inspect(const std::string& target) {
    InspectStart order;
    order.full = true;
    order.repair = options_.repair;
    order.rate = options_.rate;
    const auto job = publisher_.inspect(target, order);
    for (;;) {
        const auto news = job->take();
        for (const auto& f : news.findings) {
            spdlog::error("scrub slave={} path=\"{}\" differs=\"{}\" healed={} {}", target, printable(f.path),
                          difference_text(f.kinds), f.healed, f.detail);
        }
        {
            const std::lock_guard lock(mutex_);
            status_.slave = target;
            status_.at = news.progress.at;
            status_.share = static_cast<double>(news.progress.share) / 1e6;
            status_.differences += news.findings.size();
            for (const auto& f : news.findings) status_.healed += f.healed ? 1 : 0;
        }
        if (news.done) {
            const auto& c = news.progress.counts;
            if (!news.error.empty()) {
                spdlog::info("scrub slave={} not done: {}", target, news.error);
            } else {
                spdlog::info("scrub slave={} done objects={} bytes={} differences={} healed={}", target, c.files,
                             c.bytes, c.differences, c.healed);
            }
            return news.error.empty();
        }
        if (!pause(kScrubLookMs)) {
            job->cancel();
            return false;
        }
    }
}

}  // namespace tdfs

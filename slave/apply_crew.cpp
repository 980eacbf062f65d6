#include "slave/apply_crew.hpp"

#include <utility>

namespace tdfs {

ApplyCrew::ApplyCrew(int root, AppliedState& state, const ApplyOptions& options, unsigned workers) : state_(state) {
    TDFS_INVARIANT(workers <= kMostWorkers, "each worker has a place for its note");
    for (unsigned worker = 1; worker <= workers; ++worker) {
        ApplyOptions own = options;
        own.worker = worker;
        appliers_.push_back(std::make_unique<Applier>(root, state, std::move(own)));
    }
}

ApplyCrew::~ApplyCrew() { stop(); }

void ApplyCrew::start() {
    TDFS_INVARIANT(threads_.empty(), "a crew is started once at a time");
    stop_ = false;
    for (const auto& applier : appliers_) {
        threads_.emplace_back([this, &applier = *applier] { work(applier); });
    }
}

void ApplyCrew::stop() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
    threads_.clear();
}

std::optional<ApplyCrew::Failure> ApplyCrew::run(Wave& wave) {
    state_.begin_ahead(wave.end());
    has_failed_ = false;
    std::unique_lock lock(mutex_);
    failure_.reset();
    wave_ = &wave;
    next_ = finished_ = 0;
    wake_.notify_all();
    done_.wait(lock, [&] { return finished_ == wave.groups().size(); });
    wave_ = nullptr;
    return std::exchange(failure_, std::nullopt);
}

void ApplyCrew::work(Applier& applier) {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stop_ || (wave_ != nullptr && next_ < wave_->groups().size()); });
        if (stop_) return;
        const auto& group = wave_->groups()[next_++];
        lock.unlock();
        apply(applier, group);
        lock.lock();
        if (++finished_ == wave_->groups().size()) done_.notify_one();
    }
}

void ApplyCrew::apply(Applier& applier, const Wave::Group& group) {
    for (const auto place : group) {
        if (has_failed_) break;
        auto& item = wave_->items()[place];
        if (const auto done = applier.apply(item.record, item.header.lsn); !done) {
            failed(item.header.lsn, done.error());
            break;
        }
        state_.mark_done(item.header.lsn);
        item.done = true;
    }
    // Nobody else in this wave is about these files; closing may take long, and each worker closes its own.
    applier.idle();
}

void ApplyCrew::failed(Lsn lsn, const ApplyError& error) {
    has_failed_ = true;
    const std::lock_guard lock(mutex_);
    if (!failure_ || lsn < failure_->lsn) failure_ = Failure{lsn, error.text()};
}

void ApplyCrew::forget() {
    for (const auto& applier : appliers_) applier->forget();
}

void ApplyCrew::forget(std::string_view path) {
    for (const auto& applier : appliers_) applier->forget(path);
}

}  // namespace tdfs

#include "slave/replay_gates.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "proto/path.hpp"

namespace tdfs {

void ReplayGates::set_next() {
    std::uint64_t next = kNever;
    for (const auto& gate : gates_) next = std::min(next, gate.at.bytes());
    next_.store(next, std::memory_order_release);
}

void ReplayGates::meet(Lsn at, ReplayGate::Meeting meeting) {
    const std::lock_guard lock(mutex_);
    gates_.push_back({at, std::move(meeting)});
    set_next();
}

bool ReplayGates::pass(Lsn position, bool exact) {
    std::deque<Gate> now;
    {
        const std::lock_guard lock(mutex_);
        const auto is_later = [&](const Gate& gate) { return position < gate.at; };
        const auto later = std::stable_partition(gates_.begin(), gates_.end(), std::not_fn(is_later));
        std::move(gates_.begin(), later, std::back_inserter(now));
        gates_.erase(gates_.begin(), later);
        set_next();
    }
    bool changed = false;
    for (const auto& gate : now) {
        if (exact && gate.at == position) {
            changed |= gate.meeting.look();
        } else {
            gate.meeting.missed();
        }
    }
    return changed;
}

void ReplayGates::watch(const void* who) {
    const std::lock_guard lock(mutex_);
    watchers_.try_emplace(who);
    watched_ = true;
}

void ReplayGates::unwatch(const void* who) {
    const std::lock_guard lock(mutex_);
    watchers_.erase(who);
    watched_ = !watchers_.empty();
}

ReplayGate::Moved ReplayGates::take_moved(const void* who) {
    const std::lock_guard lock(mutex_);
    ReplayGate::Moved moved;
    const auto at = watchers_.find(who);
    if (at == watchers_.end()) return moved;
    moved.all = std::exchange(at->second.all, false);
    moved.names.assign(at->second.moved.begin(), at->second.moved.end());
    at->second.moved.clear();
    return moved;
}

void ReplayGates::moved(std::string_view path) {
    if (is_within(path, kStateName)) return;
    for (auto& [who, watcher] : watchers_) {
        if (watcher.all) continue;
        watcher.moved.emplace(path);
        if (watcher.moved.size() < kMaxMoved) continue;
        watcher.all = true;
        watcher.moved.clear();
    }
}

void ReplayGates::applied(const Record& r) {
    if (!watched_.load(std::memory_order_relaxed)) return;
    if (const auto* rename = std::get_if<RenameRecord>(&r)) {
        const std::lock_guard lock(mutex_);
        moved(rename->new_path);
        if (rename->exchange) moved(rename->path);
    } else if (const auto* link = std::get_if<LinkRecord>(&r)) {
        const std::lock_guard lock(mutex_);
        moved(link->new_path);
    }
}

void ReplayGates::clear() {
    const std::lock_guard lock(mutex_);
    gates_.clear();
    set_next();
}

}  // namespace tdfs

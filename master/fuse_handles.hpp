// What the kernel holds by a number only.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "proto/result.hpp"

namespace tdfs {

// Open files or directories between the reply to their open and their release. A mount that goes before its last release
// never gets it: what is left is freed with this.
//
// Thread-safe. Owned by the mount.
template <class T>
class FuseHandles {
  public:
    // Before the reply that tells the kernel: a release may follow it at once.
    std::uint64_t give(std::unique_ptr<T> object) {
        const auto handle = reinterpret_cast<std::uint64_t>(object.get());
        const std::lock_guard lock(mutex_);
        held_.emplace(handle, std::move(object));
        return handle;
    }
    std::unique_ptr<T> take(std::uint64_t handle) {
        const std::lock_guard lock(mutex_);
        auto held = held_.extract(handle);
        TDFS_INVARIANT(!held.empty(), "the kernel gives back what it was given");
        return std::move(held.mapped());
    }
    // Of one that is held.
    static T& at(std::uint64_t handle) { return *reinterpret_cast<T*>(handle); }

  private:
    std::mutex mutex_;
    std::unordered_map<std::uint64_t, std::unique_ptr<T>> held_;
};

}  // namespace tdfs

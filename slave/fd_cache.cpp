#include "slave/fd_cache.hpp"

#include <utility>

#include "proto/path.hpp"

namespace tdfs {

FdCache::Entries::iterator FdCache::remove(Entries::iterator at) {
    order_.erase(at->second.place);
    return entries_.erase(at);
}

int FdCache::find(std::string_view path) {
    const auto at = entries_.find(path);
    if (at == entries_.end()) return -1;
    order_.splice(order_.begin(), order_, at->second.place);
    return at->second.fd.get();
}

int FdCache::add(std::string_view path, OwnFd fd) {
    forget(path);
    while (!order_.empty() && entries_.size() >= limit_) remove(entries_.find(order_.back()));
    const auto at = entries_.try_emplace(std::string(path)).first;
    order_.push_front(at->first);
    at->second = {std::move(fd), order_.begin()};
    return at->second.fd.get();
}

OwnFd FdCache::take(std::string_view path) {
    const auto at = entries_.find(path);
    if (at == entries_.end()) return OwnFd();
    OwnFd fd = std::move(at->second.fd);
    remove(at);
    return fd;
}

void FdCache::forget(std::string_view path) {
    if (const auto at = entries_.find(path); at != entries_.end()) remove(at);
}

void FdCache::forget_within(std::string_view path) {
    if (path.empty()) return clear();
    forget(path);
    // Everything beneath begins with "path/", and so stands together.
    const std::string prefix = std::string(path) + '/';
    auto at = entries_.lower_bound(prefix);
    while (at != entries_.end() && is_within(at->first, path)) at = remove(at);
}

void FdCache::clear() {
    order_.clear();
    entries_.clear();
}

}  // namespace tdfs

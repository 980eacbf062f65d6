// A bounded cache of open descriptors by path, which forgets subtrees.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <string>
#include <string_view>

#include "common/os/fd.hpp"

namespace tdfs {

// Holds at most `limit` descriptors, dropping the one that was used longest ago. The keys are ordered, so that
// forgetting everything beneath a directory costs no more than what is forgotten.
//
// Whoever changes names in the tree tells the cache, else a descriptor outlives its path. A descriptor that was handed
// out is good until the next call that is not find(). Not thread-safe; owned by the replica tree.
class FdCache {
  public:
    explicit FdCache(std::size_t limit) : limit_(limit) {}

    [[nodiscard]] int find(std::string_view path);  // -1: not there
    int add(std::string_view path, OwnFd fd);       // replaces; returns the descriptor
    OwnFd take(std::string_view path);              // out of the cache; empty if not there
    void forget(std::string_view path);
    void forget_within(std::string_view path);  // it and everything beneath
    void clear();
    [[nodiscard]] std::size_t size() const { return entries_.size(); }

  private:
    using Order = std::list<std::string_view>;  // of keys; used last at the front
    struct Entry {
        OwnFd fd;
        Order::iterator place;
    };
    using Entries = std::map<std::string, Entry, std::less<>>;
    Entries::iterator remove(Entries::iterator at);

    const std::size_t limit_;
    Entries entries_;
    Order order_;
};

}  // namespace tdfs

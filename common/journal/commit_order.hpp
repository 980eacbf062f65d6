// Which of the places that were set aside have been filled without a gap before them.
#pragma once

#include <vector>

#include "proto/ids.hpp"

namespace tdfs {

// Reservations enter in lsn order and are done in any order; visible() is the start of the oldest that is not done.
// Not thread-safe: the journal's lock guards it. No memory is taken once it has grown to the number in flight.
class CommitOrder {
  public:
    explicit CommitOrder(Lsn tail) : visible_(tail), ring_(64) {}

    // The ticket of a reservation that ends at `end`, to be given to done().
    std::uint64_t add(Lsn end) {
        if (next_ - oldest_ == ring_.size()) grow();
        at(next_) = {end, false};
        return next_++;
    }

    // Goes on at `tail`. Nothing may be in flight.
    void skip_to(Lsn tail) { visible_ = tail; }

    // Whether visible() has moved.
    bool done(std::uint64_t ticket) {
        at(ticket).done = true;
        if (ticket != oldest_) return false;
        for (; oldest_ != next_ && at(oldest_).done; ++oldest_) visible_ = at(oldest_).end;
        return true;
    }

    [[nodiscard]] Lsn visible() const { return visible_; }
    [[nodiscard]] bool empty() const { return oldest_ == next_; }

  private:
    struct Entry {
        Lsn end;
        bool done = false;
    };

    Entry& at(std::uint64_t ticket) { return ring_[ticket & (ring_.size() - 1)]; }

    void grow() {
        std::vector<Entry> bigger(ring_.size() * 2);
        for (auto t = oldest_; t != next_; ++t) bigger[t & (bigger.size() - 1)] = at(t);
        ring_.swap(bigger);
    }

    Lsn visible_;
    std::uint64_t oldest_ = 0;  // tickets [oldest_, next_) are in the ring
    std::uint64_t next_ = 0;
    std::vector<Entry> ring_;  // its size is a power of two
};

}  // namespace tdfs

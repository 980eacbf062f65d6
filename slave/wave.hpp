// Consecutive records of the journal, sorted into groups that have nothing to do with each other.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proto/frame.hpp"
#include "proto/record.hpp"
#include "slave/applied_state.hpp"

namespace tdfs {

// Invariant: records of different groups may be applied in any order, also at once, and the tree comes out the same as if all
// were applied in order; those of one group are to be applied in order.
//
// Two records stand in one group if they are about the same object, or about the same path, or if one is about a path that
// the other's path leads through: a record about a directory (or about a name that may be one's) has all beneath it to
// itself. A record that would join two groups ends the wave before it, as do those that are applied alone: what names an object
// without telling which it is (the source of a copy), an exchange, a sync point. A master notes one of those after each reboot: inode
// numbers tell objects apart only as long as they stay the same.
//
// One thread at a time. Records point into bytes of the wave's own.
class Wave {
  public:
    static constexpr std::size_t kMostRecords = kMostAhead;
    static constexpr std::size_t kMostBytes = 16u << 20;  // of payloads; one more record may lie beyond

    struct Item {
        FrameHeader header;
        Bytes payload;
        Record record;
        bool done = false;  // set by who applies it
        [[nodiscard]] Lsn end() const { return header.lsn + header.frame_bytes(); }
    };
    using Group = std::vector<std::size_t>;  // places of its records in items(), in order

    // False: it is not taken, and the wave ends before it. `payload`: expanded.
    bool add(const FrameHeader& header, ByteView payload);
    void clear();

    [[nodiscard]] bool empty() const { return items_.empty(); }
    [[nodiscard]] Lsn end() const { return items_.back().end(); }  // of a wave that is not empty
    std::vector<Item>& items() { return items_; }
    [[nodiscard]] const std::vector<Group>& groups() const { return groups_; }

  private:
    static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
    static constexpr std::size_t kSeveral = static_cast<std::size_t>(-2);
    struct Holders {
        std::size_t alone = kNone;    // the group whose path it is
        std::size_t through = kNone;  // the group, or kSeveral, whose paths lead through it
    };
    [[nodiscard]] std::size_t group_of(const Record& r) const;
    void hold(const Record& r, std::size_t group);

    std::vector<Item> items_;
    std::vector<Group> groups_;
    std::size_t bytes_ = 0;
    std::unordered_map<std::uint64_t, std::size_t> objects_;  // by inode number
    std::unordered_map<std::string_view, Holders> paths_;
};

}  // namespace tdfs

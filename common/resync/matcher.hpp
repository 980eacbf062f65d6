// Makes one object of the replica equal to what the master shows, as far as that needs no content; puts the rest on the
// agenda.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/resync/agenda.hpp"
#include "common/resync/links.hpp"
#include "common/resync/local_tree.hpp"

namespace tdfs {

// How far to trust what is there already.
struct MatchDepth {
    bool recurse = false;  // directories: all that is beneath, too
    Compare beneath = Compare::kQuick;
    enum class Content { kQuick, kAll, kRanges, kKeep } content = Content::kQuick;  // kKeep: is known to be equal
    ByteRanges ranges;
};

// Types and kinds that do not agree are replaced; names that are one object on the master become one inode, and others
// are broken apart. Not thread-safe; all references outlive it.
class Matcher {
  public:
    Matcher(LocalTree& tree, LinkGroups& links, Agenda& agenda) : tree_(tree), links_(links), agenda_(agenda) {}

    void begin_round(std::uint32_t round) { round_ = round; }
    Done match(const Spot& at, Entry e, const MatchDepth& depth);
    Done match_root(const Entry& e, const MatchDepth& depth);
    Done remove(const Spot& at);  // the master has no such name; nothing there is fine

    [[nodiscard]] std::uint64_t removed() const { return removed_; }
    [[nodiscard]] std::uint64_t metadata() const { return metadata_; }

  private:
    using Local = std::optional<FileInfo>;
    // What stands at a spot: usable as it is, or only in the way.
    struct Found {
        Local usable;
        bool occupied = false;  // by something that is no directory
    };
    Result<Found, std::string> look(const Spot& at, const Entry& e);
    Done match_directory(const Spot& at, Entry e, const MatchDepth& depth, const Local& local);
    Done match_other(const Spot& at, Entry e, const MatchDepth& depth, Found found);
    Done make_new(const Spot& at, Entry e, const MatchDepth& depth);
    Done update(const Spot& at, Entry e, const MatchDepth& depth, const FileInfo& local);
    Result<bool, std::string> join_group(const Spot& at, const Entry& e, const Found& found);
    Result<bool, std::string> attributes(int fd, const std::string& path, const Entry& e, const FileInfo& local);
    void compared(const Entry& e, const MatchDepth& depth);

    LocalTree& tree_;
    LinkGroups& links_;
    Agenda& agenda_;
    std::uint32_t round_ = 0;
    std::uint64_t removed_ = 0;
    std::uint64_t metadata_ = 0;
};

}  // namespace tdfs

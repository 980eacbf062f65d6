// What the sink still has to do in a round.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "proto/resync.hpp"

namespace tdfs {

using ByteRanges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;  // offset, length

// Something to be fetched for one object.
struct Transfer {
    enum class Kind {
        kNew,     // a regular file, built in the stage
        kUpdate,  // the content of the regular file that is there
        kXattrs,  // extended attributes only
    };
    Kind kind = Kind::kNew;
    std::string path;
    Entry entry;            // as the master showed it
    std::uint64_t ino = 0;  // of what is there (not kNew)
    bool foreign = false;   // somebody else changed that: it is kept before it is written to
    ByteRanges ranges;      // kUpdate: what may differ; empty: all of it

    [[nodiscard]] std::uint64_t bytes() const {
        if (kind == Kind::kXattrs) return 0;
        if (ranges.empty()) return entry.size;
        std::uint64_t sum = 0;
        for (const auto& [offset, length] : ranges) {
            if (offset < entry.size) sum += length < entry.size - offset ? length : entry.size - offset;
        }
        return sum;
    }
};

// Whole directories are compared in one way each.
enum class Compare {
    kQuick,  // content where size or time differ
    kAll,    // all content, by hashes
};
struct DirectoryTask {
    std::string path;
    Compare how = Compare::kQuick;
};

struct Agenda {
    std::deque<TouchedPath> paths;
    std::vector<DirectoryTask> directories;  // the last one first: what is beneath comes soon, so that few wait
    std::deque<Transfer> transfers;
    std::uint64_t files = 0;  // found so far, over all rounds
    std::uint64_t bytes = 0;

    void add(Transfer t) {
        if (t.kind != Transfer::Kind::kXattrs) {
            ++files;
            bytes += t.bytes();
        }
        transfers.push_back(std::move(t));
    }
    // A path that has to be looked at (again) in this round.
    void add_path(std::string path, const ObjectId& object, bool content) {
        TouchedPath t;
        t.path = std::move(path);
        t.object = object;
        t.content = content;
        paths.push_back(std::move(t));
    }
};

}  // namespace tdfs

// The slave's side of a resync: asks, compares with what the replica has, and makes it equal.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proto/resync.hpp"

namespace tdfs {

class Salvage;

// A state machine without network I/O; changes the replica directory `root` (descriptor). One session thread.
//
// What differs in metadata is set; content of regular files is fetched where size or mtime differ (always compared by
// hashes on `full`), block-wise into the file that is there; what the master does not have is removed (never .tdfs in
// the root). New files are built under .tdfs/stage and renamed into place complete; hard-link groups are made equal;
// times are set last (directories after their content). What is equal already is not asked for again, so a resync that
// was cut off goes on where it was.
class ResyncSink {
  public:
    // Asked before something is removed, with the number of objects that go; an answer that is not empty says why not,
    // and ends this try.
    using MayRemove = std::function<std::string(const std::string& path, std::uint64_t objects)>;
    // `salvage`: keeps what somebody else changed; outlives this. None: nothing is kept.
    ResyncSink(int root, const ResyncStart& start, MayRemove may_remove = {}, Salvage* salvage = nullptr);
    ~ResyncSink();

    // Answers, in the order of the questions.
    Result<void, DecodeError> receive(MessageKind kind, ByteView payload);
    // Appends questions, some hundred KiB a call at most; false: nothing to ask until answers come. Reads (and hashes)
    // what the replica has.
    bool produce(Bytes& out);
    // Not empty: a local error that ends this try; names path, operation and reason.
    [[nodiscard]] std::string failed() const;
    [[nodiscard]] bool disk_failed() const;  // that was a sync: what was written before may be lost, and is still shown
    [[nodiscard]] Progress progress() const;  // any thread

    struct Counts {
        std::uint64_t listed = 0;         // entries the master showed
        std::uint64_t fetched_files = 0;  // regular files that are new or got other content
        std::uint64_t fetched_bytes = 0;  // of content that came over the link
        std::uint64_t removed = 0;        // names the master does not have, whole trees as one
        std::uint64_t metadata = 0;       // objects that got owner, mode, times, attributes or a link
        std::uint64_t xattrs_left = 0;    // objects whose extended attributes are too many to be sent
    };
    [[nodiscard]] Counts counts() const;  // any thread

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace tdfs

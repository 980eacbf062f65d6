// Answers about the backing directory: lists, single objects, ranges of content, extended attributes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/os/file.hpp"
#include "common/resync/blocks.hpp"
#include "proto/resync.hpp"

namespace tdfs {

// Why an answer cannot be given, in words. Never told as "absent": the replica would remove what is only unreadable.
using Unreadable = std::string;
template <class T>
using Answer = Result<T, Unreadable>;

// What all answers look at. `root` outlives it.
struct BackingDir {
    int root = -1;
    std::uint64_t device = 0;  // st_dev: other file systems mounted beneath are left out
};

// Nothing: absent, hidden, or on another file system.
Answer<std::optional<Entry>> stat_answer(const BackingDir& dir, const std::string& path);
Answer<XattrsReply> xattrs_answer(const BackingDir& dir, const XattrsRequest& request);

// One directory, part by part.
class ListAnswer {
  public:
    static Answer<std::unique_ptr<ListAnswer>> open(const BackingDir& dir, const std::string& path);
    Answer<ListPart> next();  // the part with `last` is the last one
    [[nodiscard]] std::size_t names() const { return names_.size(); }

  private:
    explicit ListAnswer(const BackingDir& dir) : backing_(dir) {}
    BackingDir backing_;
    std::string path_;
    OwnFd dir_;  // none: absent
    std::vector<std::string> names_;
    std::size_t index_ = 0;
};

// Keeps the file that was read last open: the next range is mostly of the same.
class RangeFile {
  public:
    // -1: gone, another object, or no regular file.
    Answer<int> get(const BackingDir& dir, const std::string& path, const ObjectId& object);
    void close() { fd_.reset(); }

  private:
    OwnFd fd_;
    std::string path_;
    ObjectId object_;
};

// One range of a file, part by part. `fd` (-1: gone) outlives it.
class RangeAnswer {
  public:
    RangeAnswer(int fd, RangeRequest request);
    // Nothing: no more parts, end() is next.
    Answer<std::optional<RangePart>> next();
    Answer<RangeEnd> end() const;

  private:
    Answer<bool> read_block();
    [[nodiscard]] Unreadable unreadable(Errno e) const;

    int fd_;
    RangeRequest request_;
    std::optional<BlockReader> reader_;
    std::vector<RangePart> parts_;  // of the last block that differed
    std::size_t sent_ = 0;
};

}  // namespace tdfs

// Which paths a stretch of the journal touched, with what is needed to make just these equal again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proto/record.hpp"
#include "proto/resync.hpp"

namespace tdfs {

inline constexpr std::size_t kMaxTouched = 400'000;  // paths remembered one by one: some 100 MiB at most

// Fed with records in journal order; names are those of the end of the stretch (renames are followed). For every name
// that was added or removed the parent directory is touched too (its mtime). The state directory is left out.
//
// Invariant: an object that differs from how it was before the stretch is named by its path, lies beneath a path marked
// deep, or is named by its id (its changed name is gone, others of its names may not be). Content is given as ranges
// only where the path has been the same object throughout the stretch. Beyond `limit` paths, siblings become their
// directory, deep. Not thread-safe.
class TouchedPaths {
  public:
    explicit TouchedPaths(std::size_t limit = kMaxTouched) : limit_(limit) {}

    void add(const Record& r);
    void add_everything();  // the records are lost: the whole tree, by content
    [[nodiscard]] std::size_t size() const { return paths_.size() + lost_.size(); }
    [[nodiscard]] std::uint64_t content_bytes() const;  // of all ranges; ~0 if some file's is unknown
    // Content was changed in objects whose name went away afterwards, and which did not begin in this stretch. take() resets it.
    [[nodiscard]] bool lost_content() const;
    // Ids had to be dropped: every object of several names is touched. take() resets it.
    [[nodiscard]] bool all_links() const { return all_links_; }
    [[nodiscard]] std::vector<TouchedPath> take();  // sorted by path, and empties this

  private:
    using Paths = std::map<std::string, TouchedPath, std::less<>>;

    void apply(const CreateRecord& r);
    void apply(const LinkRecord& r);
    void apply(const UnlinkRecord& r) { removed(r.path); }
    void apply(const RmdirRecord& r) { removed(r.path); }
    void apply(const RenameRecord& r);
    void apply(const WriteRecord& r) { content(r.path, r.object, r.offset, r.data.size()); }
    void apply(const FallocateRecord& r);
    void apply(const CopyRangeRecord& r) { content(r.path, r.object, r.offset, r.length); }
    void apply(const AttributesRecord& r);
    void apply(const SetXattrRecord& r) { changed(r.path, r.object); }
    void apply(const RemoveXattrRecord& r) { changed(r.path, r.object); }
    void apply(const SyncRecord&) {}

    TouchedPath* touch(std::string_view path);  // null: not replicated, or covered already
    [[nodiscard]] bool is_beneath_deep(std::string_view path) const;
    TouchedPath* changed(std::string_view path, const ObjectId& object);
    void content(std::string_view path, const ObjectId& object, std::uint64_t offset, std::uint64_t length);
    void replaced(std::string_view path);  // another object stands there now: deep, all content
    void removed(std::string_view path);
    void keep_object(TouchedPath& t);
    Paths extract_within(std::string_view path);
    void insert_moved(Paths moved, std::string_view from, std::string_view to);
    void coarsen();

    std::size_t limit_;
    Paths paths_;
    std::map<ObjectId, TouchedPath> lost_;  // changed objects whose name went away afterwards
    std::set<ObjectId> born_;  // made in this stretch, under one name: when that goes away, they do (as many as paths)
    bool all_links_ = false;
};

}  // namespace tdfs

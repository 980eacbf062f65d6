// The replica directory as a resync changes it: names, new objects, and the times of directories.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/os/file.hpp"
#include "common/resync/salvage.hpp"
#include "proto/path.hpp"
#include "proto/resync.hpp"

namespace tdfs {

using Done = Result<void, std::string>;  // the error is for people: path, operation, reason

// "cannot write a/b: No space left on device", with advice where there is some.
[[nodiscard]] Unexpected<std::string> cannot(const char* what, std::string_view path, Errno e);

// A name in a directory that is open.
struct Spot {
    int dir = -1;
    std::string path;  // of the object
    std::string name;  // its last component
};

// Invariant: a directory whose names were changed here has, after finish_directories(), the modification time last told
// by directory_time(), or else the one it had before. New objects are built under kStagePath and moved into place
// complete.
//
// Every path is resolved beneath the root, never through symlinks. Not thread-safe. `root` outlives it.
class LocalTree {
  public:
    // Whose the stage is: a resync's alone, or shared with the replay, which may have objects of its own in it.
    enum class Stage { kOwn, kShared };
    using MayRemove = std::function<std::string(const std::string& path, std::uint64_t objects)>;
    explicit LocalTree(int root, Stage stage = Stage::kOwn, MayRemove may_remove = {}, Keeping keeping = {})
        : root_(root), shared_(stage == Stage::kShared), may_remove_(std::move(may_remove)), keeping_(keeping) {}

    // What names lead to is kept by these rules before it is removed or replaced.
    [[nodiscard]] const Keeping& keeping() const { return keeping_; }
    void set_keeping(const Keeping& keeping) { keeping_ = keeping; }

    Done prepare();  // makes the stage, and empties it of what is ours
    [[nodiscard]] int root() const { return root_; }
    SysResult<OwnFd> open(std::string_view path, int flags) { return open_beneath(root_, path, flags); }
    // The place of a path; nothing: its directory is not there. Good until the next call here that is not const.
    Result<std::optional<Spot>, std::string> spot(const std::string& path);

    // Before owner, mode, time or attributes of what `fd` is (which is as `is` says) are made equal to `e`.
    Done note_metadata(int fd, const std::string& path, const FileInfo& is, const Entry& e);
    Done remove(const Spot& at);  // with all that is beneath
    // Gives the mode it may have for now: without root's rights one that lets us put something into it, until
    // finish_directories().
    Result<std::uint32_t, std::string> make_directory(const Spot& at, std::uint32_t mode);
    // A symlink, pipe, socket or device with owner, permissions and time, in the place of what is no directory.
    Done make_other(const Spot& at, const Entry& e);
    // One more name for what stands at `from`; `occupied`: in the place of what is no directory.
    Done link(const Spot& from, const Spot& to, bool occupied);

    struct Staged {
        OwnFd fd;
        std::string name;
    };
    Result<Staged, std::string> stage_file();
    // False: the place is not there (any more).
    Result<bool, std::string> publish(const std::string& staged, const std::string& path);
    void discard(const std::string& staged);

    Done directory_time(int dir, const std::string& path, std::int64_t is_ns, std::int64_t should_be_ns);
    Done finish_directories() { return finish_directories(true); }
    Done sync();  // everything written is on the disk

  private:
    struct Pending {
        std::int64_t mtime_ns = 0;
        std::optional<std::uint32_t> mode;  // could not be given yet: there is still something to do beneath
    };
    Done changing(int dir, std::string_view path);
    Done keep(int dir, const std::string& name, const std::string& path, const char* why);
    Done finish_directories(bool all);  // or only those in which no mode stands in the way of further changes
    [[nodiscard]] const char* prefix() const { return shared_ ? "repair-" : "resync-"; }
    std::string stage_name() { return prefix() + std::to_string(++staged_); }

    const int root_;
    const bool shared_;
    const MayRemove may_remove_;
    Keeping keeping_;
    OwnFd stage_;
    std::uint64_t staged_ = 0;
    std::map<std::string, Pending, std::less<>> directories_;
    OwnFd parent_;  // of the spot asked for last
    std::string parent_path_;
};

}  // namespace tdfs

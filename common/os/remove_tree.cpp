// Removes a tree of any depth with two open descriptors: going down keeps only the identity of each directory, going up
// opens ".." and checks that it is the one we came from.

#include <dirent.h>
#include <fcntl.h>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

struct Level {
    std::string name;  // in the level above
    std::uint64_t ino = 0;
    std::vector<std::string> directories;  // still to be removed
};

SysResult<void> unlink_at(int dir, const std::string& name, int flags) {
    if (::unlinkat(dir, name.c_str(), flags) != 0 && errno != ENOENT) return fail_last();
    return {};
}

// True if a directory stands there, which was left alone.
SysResult<bool> remove_unless_directory(int dir, const std::string& name) {
    const auto removed = unlink_at(dir, name, 0);
    if (removed) return false;
    if (removed.error().value() == EISDIR) return true;
    if (removed.error().value() != EPERM) return fail(removed.error());  // EPERM: POSIX's word for a directory, too
    const auto info = stat_at(dir, name);
    if (info && info->is_dir()) return true;
    return fail(removed.error());
}

// Invariant: `here_` is the directory of levels_.back(), on the file system it all began on.
class TreeRemoval {
  public:
    explicit TreeRemoval(int dir) : dir_(dir) {}

    SysResult<void> run(const std::string& name) {
        if (auto entered = enter(dir_, name); !entered) return absent_is_fine(entered);
        while (!levels_.empty()) {
            auto& directories = levels_.back().directories;
            if (directories.empty()) {
                if (auto left = leave(); !left) return left;
                continue;
            }
            const std::string next = std::move(directories.back());
            directories.pop_back();
            if (auto entered = enter(here_.get(), next); !absent_is_fine(entered)) return entered;
        }
        return {};
    }

  private:
    static SysResult<void> absent_is_fine(const SysResult<void>& result) {
        if (!result && result.error().value() == ENOENT) return {};
        return result;
    }

    // Goes down into `name` and removes everything there but directories, which it notes.
    SysResult<void> enter(int parent, const std::string& name) {
        auto opened = open_beneath(parent, name, O_RDONLY | O_DIRECTORY);  // refuses mount points (EXDEV)
        if (!opened) return fail(opened.error());
        const auto info = stat_fd(opened->get());
        if (!info) return fail(info.error());
        if (levels_.empty()) {
            device_ = info->device;
            const auto above = stat_at(parent, "");
            if (!above) return fail(above.error());
            if (above->device != device_) return fail(EXDEV);
        }
        if (info->device != device_) return fail(EXDEV);  // a subvolume is no mount point

        levels_.push_back({name, info->object.ino, {}});
        here_ = std::move(*opened);
        auto entries = read_dir(here_.get());
        if (!entries) return fail(entries.error());
        for (auto& entry : *entries) {
            bool directory = entry.type == DT_DIR;
            if (!directory) {
                const auto stands = remove_unless_directory(here_.get(), entry.name);
                if (!stands) return fail(stands.error());
                directory = *stands;
            }
            if (directory) levels_.back().directories.push_back(std::move(entry.name));
        }
        return {};
    }

    // Goes up and removes the directory that was emptied.
    SysResult<void> leave() {
        const Level done = std::move(levels_.back());
        levels_.pop_back();
        if (levels_.empty()) return unlink_at(dir_, done.name, AT_REMOVEDIR);

        auto above = open_at(here_.get(), "..", O_RDONLY | O_DIRECTORY);
        if (!above) return fail(above.error());
        const auto info = stat_fd(above->get());
        if (!info) return fail(info.error());
        // Somebody moved the directory away while we were in it: nothing there is ours to remove.
        if (info->device != device_ || info->object.ino != levels_.back().ino) return fail(EBUSY);
        here_ = std::move(*above);
        return unlink_at(here_.get(), done.name, AT_REMOVEDIR);
    }

    int dir_;
    OwnFd here_;
    std::uint64_t device_ = 0;
    std::vector<Level> levels_;
};

}  // namespace

SysResult<void> remove_tree_at(int dir, const std::string& name) {
    const auto directory = remove_unless_directory(dir, name);
    if (!directory) return fail(directory.error());
    if (!*directory) return {};
    return TreeRemoval(dir).run(name);
}

}  // namespace tdfs

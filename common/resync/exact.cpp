// Stages of one item: what is here; is it of the kind it should be, else it is removed or made; what differs in
// metadata and in the blocks that were shown; heal just that. Directories get their times back at the end.
#include "common/resync/exact.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "common/resync/attributes.hpp"
#include "common/resync/blocks.hpp"

namespace tdfs {

namespace {

constexpr std::uint32_t kPermissionBits = 07777;
constexpr const char* kTooManyXattrs = "more extended attributes than one message holds: copy them by hand";

}  // namespace

std::uint32_t metadata_difference(const Entry& master, const Entry& local, bool settled) {
    if ((master.mode & S_IFMT) != (local.mode & S_IFMT)) return difference::kType;
    std::uint32_t kinds = 0;
    if (S_ISLNK(master.mode)) {
        if (master.target != local.target) kinds |= difference::kTarget;
    } else if ((master.mode & kPermissionBits) != (local.mode & kPermissionBits)) {
        kinds |= difference::kMode;
    }
    if (master.rdev != local.rdev) kinds |= difference::kDevice;
    if (S_ISREG(master.mode) && master.size != local.size) kinds |= difference::kSize;
    if (master.uid != local.uid || master.gid != local.gid) kinds |= difference::kOwner;
    if (settled && master.mtime_ns != local.mtime_ns) kinds |= difference::kMtime;
    if (master.xattr_hash != local.xattr_hash) kinds |= difference::kXattr;
    return kinds;
}

ExactTree::ExactTree(int root, Salvage* salvage)
    : root_(root), salvage_(salvage), tree_(root, LocalTree::Stage::kShared) {
    const auto info = stat_fd(root);
    device_ = info ? info->device : 0;
}

template <class Outcome>
bool ExactTree::good(const Outcome& outcome, ExactResult& result) {
    if (!outcome && result.detail.empty()) result.detail = outcome.error();
    return outcome.has_value();
}

template <class Outcome>
bool ExactTree::good(const Outcome& outcome, const char* what, const std::string& path, ExactResult& result) {
    if (!outcome && result.detail.empty()) result.detail = cannot(what, path, outcome.error()).error();
    return outcome.has_value();
}

bool ExactTree::run(ExactStep& step) {
    repair_ = step.repair;
    for (std::size_t i = 0; i < step.items.size(); ++i) {
        ExactItem& item = step.items[i];
        ExactResult result;
        tree_.set_keeping({salvage_, item.own ? Salvage::Whose::kForeign : Salvage::Whose::kAll, "repair"});
        const bool pair = item.pair && i + 1 < step.items.size();
        if (pair) links(item, step.items[i + 1], result);
        const std::uint32_t linked = result.kinds;
        const bool broken = !result.detail.empty() || result.made;
        if (!broken) {
            result = one(item);
            result.healed = repair_ && (linked | result.kinds) != 0 && result.detail.empty();
        }
        result.kinds |= linked;
        step.results.push_back(std::move(result));
        if (pair) {
            step.results.emplace_back();  // of the other name, which was only compared with
            ++i;
        }
    }
    ExactResult times;
    if (!good(tree_.finish_directories(), times) && !step.results.empty()) {
        step.results.back().healed = false;
        step.results.back().detail = times.detail;
    }
    return changed_;
}

bool ExactTree::prepared(ExactResult& result) {
    if (!prepared_) prepared_ = good(tree_.prepare(), result);
    changed_ = true;
    return prepared_;
}

ExactResult ExactTree::one(const ExactItem& item) {
    ExactResult result;
    const auto at = tree_.spot(item.path);
    if (!at) {
        result.kinds = difference::kUnreadable;
        result.detail = at.error();
        return result;
    }
    if (!*at) {
        result.no_place = item.master.entry.has_value();
        if (result.no_place) result.kinds = difference::kMissing;
        return result;
    }
    auto local = entry_of((*at)->dir, (*at)->name, device_);
    if (!good(local, "look at", item.path, result)) {
        result.kinds = difference::kUnreadable;
        return result;
    }
    if (!item.master.entry) return *local ? extra(**at, **local) : result;
    const Entry& e = *item.master.entry;
    if (!*local) {
        result.kinds = difference::kMissing;
        if (repair_) make(item, **at, false, result);
        return result;
    }
    result.ino = (*local)->object.ino;
    result.kinds = metadata_difference(e, **local, item.master.settled);
    if ((result.kinds & (difference::kType | difference::kTarget | difference::kDevice)) != 0) {
        const bool directory = S_ISDIR((*local)->mode);
        if (repair_) make(item, **at, directory, result);
        return result;
    }
    if (!item.blocks.empty() && S_ISREG(e.mode)) {
        const auto fd = open_content(**at, false);
        if (!good(fd, result)) {
            result.kinds |= difference::kUnreadable;
            return result;
        }
        result.kinds |= content(item, fd->get(), (*local)->size, result);
    }
    if (repair_ && result.kinds != 0 && (result.kinds & difference::kUnreadable) == 0) heal(item, **at, result);
    return result;
}

ExactResult ExactTree::extra(const Spot& at, const Entry& local) {
    ExactResult result;
    result.ino = local.object.ino;
    result.kinds = difference::kExtra;
    if (!repair_ || !prepared(result)) return result;
    result.healed = good(tree_.remove(at), result);
    if (result.healed) result.ino = 0;
    return result;
}

// Which of the blocks differ, as one kind.
std::uint32_t ExactTree::content(const ExactItem& item, int fd, std::uint64_t size, ExactResult& result) {
    for (std::size_t i = 0; i < item.blocks.size() && i < item.master.hashes.size(); ++i) {
        const auto offset = item.blocks[i];
        BlockReader reader(fd, offset, std::clamp(size, offset, offset + kResyncBlockBytes));
        BlockReader::Block block;
        const auto more = reader.next(block);
        if (!good(more, "read", item.path, result)) return difference::kUnreadable;
        const auto hash = *more ? BlockReader::content_hash(block) : BlockHash{};
        if (std::pair(hash.low, hash.high) != item.master.hashes[i]) return difference::kContent;
    }
    return 0;
}

Result<OwnFd, std::string> ExactTree::open_content(const Spot& at, bool write) {
    const auto found = open_at(at.dir, at.name, O_PATH);
    if (!found) return cannot("open", at.path, found.error());
    const auto info = stat_fd(found->get());
    if (!info) return cannot("look at", at.path, info.error());
    if (!info->is_regular()) return cannot("open", at.path, Errno(EINVAL));
    OwnFd fd(::open(proc_fd_path(found->get()).c_str(), (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY));
    if (!fd) return cannot(write ? "write to" : "read", at.path, Errno::last());
    return fd;
}

// What is there before it is healed in place.
bool ExactTree::keep(const Spot& at, const FileInfo& is, const ExactResult& found, std::string& detail) {
    if (!tree_.keeping().wants(is)) return true;
    Salvage::Kept done;
    if ((found.kinds & (difference::kSize | difference::kContent)) != 0) {
        const auto fd = open_content(at, false);
        done = fd ? salvage_->keep_content(fd->get(), at.path, is, "repair  content") : Unexpected(fd.error());
    } else {
        done = salvage_->note_metadata(at.path, is, ("repair  " + difference_text(found.kinds)).c_str());
    }
    if (!done) detail = done.error();
    return done.has_value();
}

// Content first, since writing takes privileges away; then owner, mode, attributes; the time last, and by a look of its
// own once all content is equal.
void ExactTree::heal(const ExactItem& item, const Spot& at, ExactResult& result) {
    const Entry& e = *item.master.entry;
    changed_ = true;
    const auto was = stat_at(at.dir, at.name);
    if (!good(was, "look at", item.path, result) || !keep(at, *was, result, result.detail)) return;
    if ((result.kinds & (difference::kSize | difference::kContent)) != 0) {
        const auto fd = open_content(at, true);
        if (!good(fd, result)) return;
        for (const auto& part : item.master.parts) {
            const auto done = part.hole_bytes != 0 ? make_hole(fd->get(), part.offset, part.hole_bytes)
                                                   : write_all(fd->get(), part.data, part.offset);
            if (!good(done, "write", item.path, result)) return;
        }
        if (::ftruncate(fd->get(), static_cast<off_t>(e.size)) != 0) {
            result.detail = cannot("resize", item.path, Errno::last()).error();
            return;
        }
    }
    const auto fd = open_at(at.dir, at.name, O_PATH);
    if (!good(fd, "open", item.path, result)) return;
    const auto is = stat_fd(fd->get());
    if (!good(is, "look at", item.path, result)) return;
    if (!good(set_owner_and_mode(fd->get(), *is, e), "give an owner to", item.path, result)) return;
    if ((result.kinds & difference::kXattr) != 0) {
        if (item.master.too_many_xattrs) {
            result.detail = kTooManyXattrs;
        } else if (!good(set_xattrs(fd->get(), item.master.xattrs, e), "set the extended attributes of", item.path,
                         result)) {
            return;
        }
    }
    // A file whose content is not equal yet keeps a time of its own, so that a repair that is cut off is noticed.
    if (item.master.settled && (result.kinds & (difference::kSize | difference::kContent)) == 0) {
        const bool timed = S_ISDIR(e.mode)
                               ? good(tree_.directory_time(fd->get(), item.path, is->mtime_ns, e.mtime_ns), result)
                               : good(set_mtime_fd(fd->get(), e.mtime_ns), "set the time of", item.path, result);
        if (!timed) return;
    }
    result.healed = result.detail.empty();
}

void ExactTree::make(const ExactItem& item, const Spot& at, bool directory_in_the_way, ExactResult& result) {
    const Entry& e = *item.master.entry;
    if (!prepared(result)) return;
    if (directory_in_the_way || (S_ISDIR(e.mode) && (result.kinds & difference::kMissing) == 0)) {
        if (!good(tree_.remove(at), result)) return;
    }
    if (S_ISREG(e.mode)) return make_file(item, at, result);
    if (S_ISDIR(e.mode)) {
        if (!good(tree_.make_directory(at, e.mode), result)) return;
        result.made = true;
    } else if (!good(tree_.make_other(at, e), result)) {
        return;
    }
    const auto fd = open_at(at.dir, at.name, O_PATH);
    if (!good(fd, "open", item.path, result)) return;
    const auto is = stat_fd(fd->get());
    if (!good(is, "look at", item.path, result)) return;
    result.ino = is->object.ino;
    if (!good(set_owner_and_mode(fd->get(), *is, e), "give an owner to", item.path, result)) return;
    if (!good(set_xattrs(fd->get(), item.master.xattrs, e), "set the extended attributes of", item.path, result))
        return;
    if (S_ISDIR(e.mode) && !good(tree_.directory_time(fd->get(), item.path, is->mtime_ns, e.mtime_ns), result)) return;
    if (item.master.too_many_xattrs) result.detail = kTooManyXattrs;
    result.healed = result.detail.empty();
}

// Whole but for its content, which is a hole as long as the file, and its time.
void ExactTree::make_file(const ExactItem& item, const Spot& at, ExactResult& result) {
    const Entry& e = *item.master.entry;
    const auto staged = tree_.stage_file();
    if (!good(staged, result)) return;
    const int fd = staged->fd.get();
    if (::ftruncate(fd, static_cast<off_t>(e.size)) != 0) {
        result.detail = cannot("resize", item.path, Errno::last()).error();
        return tree_.discard(staged->name);
    }
    const auto is = stat_fd(fd);
    const bool complete =
        good(is, "look at", item.path, result) &&
        good(set_owner_and_mode(fd, *is, e), "give an owner to", item.path, result) &&
        good(set_xattrs(fd, item.master.xattrs, e), "set the extended attributes of", item.path, result) &&
        (e.size != 0 || good(set_mtime_fd(fd, e.mtime_ns), "set the time of", item.path, result));
    if (!complete) return tree_.discard(staged->name);
    const auto placed = tree_.publish(staged->name, at.path);
    if (!good(placed, result)) return;
    result.ino = is->object.ino;
    result.made = true;
    if (salvage_ != nullptr)
        salvage_->made(result.ino);  // what is still different in it is no find of somebody else's work
    if (item.master.too_many_xattrs) result.detail = kTooManyXattrs;
    result.healed = result.detail.empty();
}

// Sets `kinds` only where the two names are one object on one side and two on the other.
void ExactTree::links(ExactItem& item, ExactItem& other, ExactResult& result) {
    if (!item.master.entry || !other.master.entry) return;
    const auto other_at = tree_.spot(other.path);
    if (!other_at || !*other_at) return;
    const Spot other_spot = **other_at;
    const auto other_parent = open_parent_beneath(root_, other.path);  // the next spot() gives up this one's
    if (!other_parent) return;
    const Spot from{other_parent->get(), other_spot.path, other_spot.name};
    const auto at = tree_.spot(item.path);
    if (!at || !*at) return;
    const auto is = entry_of((*at)->dir, (*at)->name, device_);
    const auto other_is = entry_of(from.dir, from.name, device_);
    if (!is || !other_is || !*other_is) return;
    const bool one_there = item.master.entry->object == other.master.entry->object;
    const bool one_here = *is && (*is)->object == (*other_is)->object;
    if (one_there == one_here) return;
    if (!*is) {  // a missing name of an object that is here
        result.kinds = difference::kMissing;
        if (!repair_ || !prepared(result)) return;
        if (good(tree_.link(from, **at, false), result)) result.healed = true;
        return;
    }
    result.kinds = difference::kLinks;
    if (!repair_ || !prepared(result)) return;
    if (one_there) return relink(**at, from, **is, **other_is, result);
    if (S_ISREG(item.master.entry->mode)) return make_file(item, **at, result);
    make(item, **at, false, result);
}

// The name whose object has no other names gives way.
void ExactTree::relink(const Spot& one, const Spot& other, const Entry& is, const Entry& other_is,
                       ExactResult& result) {
    const bool keep_other = is.links == 1 || other_is.links != 1;
    const bool directory = S_ISDIR(is.mode) || S_ISDIR(other_is.mode);
    if (directory) {
        result.detail = "a directory stands where a hard link belongs";
        return;
    }
    const auto done = keep_other ? tree_.link(other, one, true) : tree_.link(one, other, true);
    if (good(done, result)) result.healed = true;
}

}  // namespace tdfs

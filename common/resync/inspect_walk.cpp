#include "common/resync/inspect_walk.hpp"

#include <fcntl.h>

#include <algorithm>

#include "common/resync/answerer.hpp"
#include "common/resync/attributes.hpp"
#include "common/resync/blocks.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kWalkLists = 16;
constexpr std::size_t kWalkStats = 64;
constexpr std::size_t kWalkBlocks = 256;          // whose hashes are asked for: 32 MiB, or so many small files
constexpr std::size_t kMaxSuspects = 4096;        // above, they are looked at before more are looked for
constexpr std::size_t kMaxFilesWaiting = 10'000;  // above, contents are compared before more is listed

bool leads_nowhere(Errno e) { return e.value() == ENOENT || e.value() == ENOTDIR || e.value() == ELOOP; }

}  // namespace

std::string LinkMap::name_of(const ObjectId& master) const {
    const auto at = groups_.find(master);
    return at == groups_.end() ? std::string() : at->second.path;
}

std::string LinkMap::check(const std::string& path, const Entry& master, const Entry& local) {
    const auto ino = local.object.ino;
    if (const auto at = groups_.find(master.object); at != groups_.end()) {
        Group& group = at->second;
        if (group.path == path) group.ino = ino;
        if (group.ino != ino) return group.path;
        if (group.left > 0) --group.left;
        if (group.left == 0) {
            by_ino_.erase(group.ino);
            groups_.erase(at);
        }
        return {};
    }
    if (const auto at = by_ino_.find(ino); at != by_ino_.end()) return name_of(at->second);
    if (groups_.size() >= kMaxGroups) return {};
    groups_[master.object] = {path, ino, std::max(master.links, local.links) - 1};
    by_ino_[ino] = master.object;
    return {};
}

InspectWalk::InspectWalk(int root, bool full, bool repair) : root_(root), full_(full), repair_(repair) {
    const auto info = stat_fd(root);
    device_ = info ? info->device : 0;
}

void InspectWalk::add_path(std::string path, bool named, double share) {
    Suspect s;
    s.path = std::move(path);
    s.named = named;
    s.share = share;
    paths_.push_back(std::move(s));
}

void InspectWalk::add_directory(std::string path, double share, bool links_only) {
    directories_.push_back({std::move(path), share, links_only});
}

bool InspectWalk::idle() const {
    return paths_.empty() && directories_.empty() && files_.empty() && stats_.empty() && listings_.empty() &&
           hashes_.empty() && suspects.empty();
}

InspectWalk::Asked InspectWalk::ask(Bytes& out) {
    if (!files_.empty() && asked_blocks_ < kWalkBlocks) {
        const auto file = std::move(files_.front());
        files_.pop_front();
        HashesRequest m{file->path, file->object, file->next, kMaxHashesBlocks};
        const auto blocks = (file->size - file->next + kResyncBlockBytes - 1) / kResyncBlockBytes;
        m.blocks = static_cast<std::uint32_t>(std::min<std::uint64_t>(blocks, kMaxHashesBlocks));
        Answerer::say(out, MessageKind::kHashes, m);
        asked_blocks_ += file->asked = m.blocks;
        hashes_.push_back(file);
        return Asked::kHashes;
    }
    if (suspects.size() > kMaxSuspects || files_.size() > kMaxFilesWaiting) return Asked::kNothing;
    if (!paths_.empty() && stats_.size() < kWalkStats) {
        Answerer::say(out, MessageKind::kStat, StatRequest{paths_.front().path});
        stats_.push_back(std::move(paths_.front()));
        paths_.pop_front();
        return Asked::kStat;
    }
    if (!directories_.empty() && listings_.size() < kWalkLists) {
        Answerer::say(out, MessageKind::kList, ListRequest{directories_.back().path});
        listings_.emplace_back();
        listings_.back().task = std::move(directories_.back());
        directories_.pop_back();
        return Asked::kList;
    }
    return Asked::kNothing;
}

void InspectWalk::fail(const std::string& path, const std::string& why) {
    Finding f;
    f.path = path;
    f.kinds = difference::kUnreadable;
    f.detail = why;
    unreadable.push_back(std::move(f));
}

void InspectWalk::open(Listing& l) {
    l.opened = true;
    at_ = l.task.path;
    auto dir = open_beneath(root_, l.task.path, O_RDONLY | O_DIRECTORY);
    if (!dir && leads_nowhere(dir.error())) return;  // its own name is a suspect
    if (!dir) return fail(l.task.path, cannot("open", l.task.path, dir.error()).error());
    auto names = read_dir(dir->get());
    if (!names) return fail(l.task.path, cannot("read", l.task.path, names.error()).error());
    for (auto& n : *names) {
        if (!l.task.path.empty() || n.name != kStateName) l.names.push_back(std::move(n.name));
    }
    std::sort(l.names.begin(), l.names.end());
    l.dir = std::move(*dir);
}

void InspectWalk::extra(const Listing& l, const std::string& name) {
    if (l.task.links_only) return;
    ++compared_;
    Suspect s;
    s.path = join(l.task.path, name);
    suspects.push_back(std::move(s));
}

Result<bool, DecodeError> InspectWalk::on(ListPart m) {
    Listing& l = listings_.front();
    if (!l.opened) open(l);
    for (Entry& e : m.entries) {
        if (e.name <= l.last_name) return bad("entries out of order");
        if (l.task.path.empty() && e.name == kStateName) return bad("the state directory in a list");
        l.last_name = e.name;
        if (!l.dir) continue;
        while (l.next < l.names.size() && l.names[l.next] < e.name) extra(l, l.names[l.next++]);
        const auto path = join(l.task.path, e.name);
        const auto local = entry_of(l.dir.get(), e.name, device_);
        if (l.next < l.names.size() && l.names[l.next] == e.name) ++l.next;
        if (!local) {
            fail(path, cannot("look at", path, local.error()).error());
            continue;
        }
        const Entry* const here = *local ? &**local : nullptr;
        if (l.task.links_only) {
            if (here != nullptr) compare_links(path, e, *here);
        } else {
            compare(path, &e, here, false);
        }
        if (here != nullptr && S_ISDIR(e.mode) && S_ISDIR(here->mode)) l.beneath.push_back(path);
    }
    if (!m.last && !m.absent) return false;
    if (!m.absent) {
        while (l.dir && l.next < l.names.size()) extra(l, l.names[l.next++]);
    }
    // Each directory and all beneath it take an equal part of what is left of the whole: an estimate that grows evenly.
    const double share = l.task.share / static_cast<double>(l.beneath.size() + 1);
    share_ += share;
    for (auto at = l.beneath.rbegin(); at != l.beneath.rend(); ++at) {
        directories_.push_back({std::move(*at), share, l.task.links_only});
    }
    listings_.pop_front();
    return true;
}

void InspectWalk::on(const StatReply& m) {
    const Suspect s = std::move(stats_.front());
    stats_.pop_front();
    std::optional<Entry> local;
    const auto parent = open_parent_beneath(root_, s.path);
    if (!parent && !leads_nowhere(parent.error())) {
        return fail(s.path, cannot("open the directory of", s.path, parent.error()).error());
    }
    if (parent) {
        auto found = entry_of(parent->get(), std::string(leaf_of(s.path)), device_);
        if (!found) return fail(s.path, cannot("look at", s.path, found.error()).error());
        local = std::move(*found);
    }
    compare(s.path, m.entry ? &*m.entry : nullptr, local ? &*local : nullptr, s.named);
    if (m.entry && local && S_ISDIR(m.entry->mode) && S_ISDIR(local->mode)) {
        directories_.push_back({s.path, s.share, false});
    } else {
        share_ += s.share;
    }
}

void InspectWalk::compare_links(const std::string& path, const Entry& master, const Entry& local) {
    if (S_ISDIR(master.mode) || S_ISDIR(local.mode) || (master.links < 2 && local.links < 2)) return;
    auto other = links_.check(path, master, local);
    if (other.empty() || other == path) return;
    Suspect s;
    s.path = path;
    s.other = std::move(other);
    suspects.push_back(std::move(s));
}

void InspectWalk::compare(const std::string& path, const Entry* master, const Entry* local, bool named) {
    ++compared_;
    Suspect s;
    s.path = path;
    s.named = named;
    if (master == nullptr && local == nullptr && !named) return;
    if (master == nullptr || local == nullptr) {
        if (master != nullptr && !S_ISDIR(master->mode) && master->links > 1) s.other = links_.name_of(master->object);
        if (s.other == path) s.other.clear();
        suspects.push_back(std::move(s));
        return;
    }
    const auto kinds = metadata_difference(*master, *local, true);
    const auto size = std::max(master->size, local->size);
    const bool resized = (kinds & difference::kSize) != 0;
    const bool doubtful = full_ || (kinds & difference::kMtime) != 0 || (repair_ && resized);
    const bool content =
        S_ISREG(master->mode) && S_ISREG(local->mode) && doubtful && size != 0 && (repair_ || !resized);
    const bool put_off = content && repair_ && !resized;  // a time that is equal says that the content is
    if (kinds != 0 && !put_off) suspects.push_back(std::move(s));
    if ((kinds & difference::kType) != 0) return;
    compare_links(path, *master, *local);
    if (!content) return;
    auto file = std::make_shared<FileTask>();
    file->path = path;
    file->object = master->object;
    file->size = size;
    file->look_at_end = kinds != 0;
    files_.push_back(std::move(file));
}

void InspectWalk::finish_file(const FileTask& file) {
    if (!repair_ || !(file.look_at_end || file.differs)) return;
    Suspect s;
    s.path = file.path;
    suspects.push_back(std::move(s));
}

Result<void, DecodeError> InspectWalk::on(const HashesReply& m) {
    const auto file = std::move(hashes_.front());
    hashes_.pop_front();
    const auto begin = file->next;
    asked_blocks_ -= file->asked;
    file->next += kMaxHashesBlocks * kResyncBlockBytes;
    if (m.gone) return {};  // it was removed or moved: the replica will hear of it, and so shall we
    const auto parent = open_parent_beneath(root_, file->path);
    const auto found = parent ? open_at(parent->get(), std::string(leaf_of(file->path)), O_PATH)
                              : SysResult<OwnFd>(tdfs::fail(parent.error()));
    if (!found) {
        if (!leads_nowhere(found.error())) fail(file->path, cannot("open", file->path, found.error()).error());
        return {};
    }
    const auto info = stat_fd(found->get());
    if (!info || !info->is_regular()) return {};
    // Reading must not be seen in the replica's access times, where the system lets us.
    OwnFd fd(::open(proc_fd_path(found->get()).c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOATIME));
    if (!fd && errno == EPERM) fd.reset(::open(proc_fd_path(found->get()).c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!fd) {
        fail(file->path, cannot("read", file->path, Errno::last()).error());
        return {};
    }
    file->size = std::max(m.size, info->size);
    const auto end = std::clamp(info->size, begin, file->next);
    BlockReader reader(fd.get(), begin, end);
    std::vector<std::uint64_t> differing;
    for (std::size_t i = 0; begin + i * kResyncBlockBytes < std::min(file->next, file->size); ++i) {
        BlockReader::Block block;
        const auto more = reader.next(block);
        if (!more) {
            fail(file->path, cannot("read", file->path, more.error()).error());
            return {};
        }
        if (*more) bytes_ += block.bytes.size();
        const bool both = *more && i < m.hashes.size();
        const bool neither = !*more && i >= m.hashes.size();
        const auto hash = both ? BlockReader::content_hash(block) : BlockHash{};
        const bool equal = neither || (both && std::pair(hash.low, hash.high) == m.hashes[i]);
        if (!equal) differing.push_back(begin + i * kResyncBlockBytes);
    }
    for (std::size_t i = 0; i < differing.size(); i += kMaxDetailedBlocks) {
        Suspect s;
        s.path = file->path;
        const auto stop = std::min(differing.size(), i + kMaxDetailedBlocks);
        s.blocks.assign(differing.begin() + static_cast<std::ptrdiff_t>(i),
                        differing.begin() + static_cast<std::ptrdiff_t>(stop));
        s.file = file;
        ++file->suspects;
        suspects.push_back(std::move(s));
    }
    if (!differing.empty()) return {};
    if (file->next < file->size) {
        files_.push_front(file);
    } else {
        finish_file(*file);
    }
    return {};
}

void InspectWalk::give_up(Asked asked, const std::string& why) {
    switch (asked) {
        case Asked::kStat:
            fail(stats_.front().path, why);
            stats_.pop_front();
            return;
        case Asked::kList:
            fail(listings_.front().task.path, why);
            share_ += listings_.front().task.share;
            listings_.pop_front();
            return;
        case Asked::kHashes:
            fail(hashes_.front()->path, why);
            asked_blocks_ -= hashes_.front()->asked;
            hashes_.pop_front();
            return;
        case Asked::kNothing:
            return;
    }
}

}  // namespace tdfs

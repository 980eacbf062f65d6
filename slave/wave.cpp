#include "slave/wave.hpp"

#include <array>
#include <utility>

#include "proto/path.hpp"

namespace tdfs {

namespace {

// What a record is about: at most two objects and two names. An inode number is enough: one that is used anew within a wave
// makes a group larger than it need be.
struct About {
    std::array<std::uint64_t, 2> inos{};  // 0: none
    std::array<std::string_view, 2> paths;
    std::size_t names = 1;
    bool alone = false;
};

struct AboutOf {
    About operator()(const LinkRecord& r) const { return {{r.object.ino, 0}, {r.path, r.new_path}, 2, false}; }
    About operator()(const RenameRecord& r) const {
        return {{r.object.ino, r.replaced.ino}, {r.path, r.new_path}, 2, r.exchange};
    }
    About operator()(const CopyRangeRecord& r) const {
        return {{r.object.ino, 0}, {r.from_path, r.path}, 2, true};  // the source may have other names
    }
    About operator()(const SyncRecord&) const { return {{}, {}, 0, true}; }
    template <class R>
    About operator()(const R& r) const {
        return {{r.object.ino, 0}, {r.path, {}}, 1, false};
    }
};

About about(const Record& r) {
    About a = std::visit(AboutOf{}, r);
    a.alone = a.alone || a.inos[0] == 0;  // of an object that nobody names
    return a;
}

template <class Visit>
void visit_ancestors(std::string_view path, const Visit& visit) {
    while (!path.empty()) {
        path = parent_of(path);
        visit(path);
    }
}

}  // namespace

bool Wave::add(const FrameHeader& header, ByteView payload) {
    if (items_.size() >= kMostRecords || bytes_ >= kMostBytes) return false;
    if (items_.capacity() == 0) items_.reserve(kMostRecords);
    Item item{header, Bytes(payload.begin(), payload.end()), {}};
    const auto record = decode_record(item.payload);
    if (!record || about(*record).alone) return false;
    auto group = group_of(*record);
    if (group == kSeveral) return false;
    if (group == kNone) {
        group = groups_.size();
        groups_.emplace_back();
    }
    hold(*record, group);
    groups_[group].push_back(items_.size());
    item.record = *record;
    bytes_ += payload.size();
    items_.push_back(std::move(item));
    return true;
}

void Wave::clear() {
    objects_.clear();
    paths_.clear();  // before the bytes its keys lie in
    groups_.clear();
    items_.clear();
    bytes_ = 0;
}

// The one it has to join; kNone: it stands for itself.
std::size_t Wave::group_of(const Record& r) const {
    std::size_t found = kNone;
    const auto join = [&found](std::size_t group) {
        if (group == kNone || group == found) return;
        found = found == kNone ? group : kSeveral;
    };
    const About a = about(r);
    for (const auto ino : a.inos) {
        const auto at = objects_.find(ino);
        if (ino != 0 && at != objects_.end()) join(at->second);
    }
    for (std::size_t i = 0; i < a.names; ++i) {
        if (const auto at = paths_.find(a.paths[i]); at != paths_.end()) {
            join(at->second.alone);
            join(at->second.through);
        }
        visit_ancestors(a.paths[i], [&](std::string_view path) {
            if (const auto at = paths_.find(path); at != paths_.end()) join(at->second.alone);
        });
    }
    return found;
}

void Wave::hold(const Record& r, std::size_t group) {
    const About a = about(r);
    for (const auto ino : a.inos) {
        if (ino != 0) objects_[ino] = group;
    }
    for (std::size_t i = 0; i < a.names; ++i) {
        paths_[a.paths[i]].alone = group;
        visit_ancestors(a.paths[i], [&](std::string_view path) {
            auto& through = paths_[path].through;
            through = through == kNone || through == group ? group : kSeveral;
        });
    }
}

}  // namespace tdfs

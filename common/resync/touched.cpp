#include "common/resync/touched.hpp"

#include <linux/falloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <variant>

namespace tdfs {
namespace {

constexpr std::size_t kRangesKept = 64;
constexpr std::uint64_t kEndOfFile = std::numeric_limits<std::int64_t>::max();

using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

// Joins what overlaps or adjoins; where many pieces stay, one range over all of them.
void simplify(Ranges& ranges) {
    std::sort(ranges.begin(), ranges.end());
    Ranges joined;
    for (const auto& [offset, length] : ranges) {
        if (!joined.empty() && offset <= joined.back().first + joined.back().second) {
            auto& [begin, size] = joined.back();
            size = std::max(size, offset + length - begin);
        } else {
            joined.emplace_back(offset, length);
        }
    }
    if (joined.size() > kRangesKept / 2) {
        const auto end = joined.back().first + joined.back().second;
        joined = {{joined.front().first, end - joined.front().first}};
    }
    ranges = std::move(joined);
}

void add_range(TouchedPath& t, std::uint64_t offset, std::uint64_t length) {
    if (t.content && t.ranges.empty()) return;  // all of it already
    t.content = true;
    if (!t.ranges.empty() && t.ranges.back().first + t.ranges.back().second == offset) {
        t.ranges.back().second += length;  // one write after another
        return;
    }
    t.ranges.emplace_back(offset, length);
    if (t.ranges.size() > kRangesKept) simplify(t.ranges);
}

void add_all_content(TouchedPath& t) {
    t.content = true;
    t.ranges.clear();
}

bool is_state(std::string_view path) { return is_within(path, kStateName); }

}  // namespace

void TouchedPaths::add(const Record& r) {
    std::visit([this](const auto& record) { apply(record); }, r);
    if (size() > limit_) coarsen();
}

void TouchedPaths::add_everything() {
    paths_.clear();
    lost_.clear();
    all_links_ = true;
    TouchedPath root;
    root.deep = true;
    root.content = true;
    paths_.emplace(std::string(), std::move(root));
}

TouchedPath* TouchedPaths::touch(std::string_view path) {
    if (is_state(path)) return nullptr;
    auto at = paths_.find(path);
    if (at == paths_.end()) {
        if (all_links_ && is_beneath_deep(path)) return nullptr;  // ids need not be kept either
        at = paths_.emplace(std::string(path), TouchedPath{}).first;
        at->second.path = at->first;
    }
    return &at->second;
}

bool TouchedPaths::is_beneath_deep(std::string_view path) const {
    while (!path.empty()) {
        path = parent_of(path);
        const auto at = paths_.find(path);
        if (at != paths_.end() && at->second.deep) return true;
    }
    return false;
}

TouchedPath* TouchedPaths::changed(std::string_view path, const ObjectId& object) {
    TouchedPath* t = touch(path);
    if (t == nullptr) return nullptr;
    if (t->object != object) keep_object(*t);
    t->object = object;
    return t;
}

void TouchedPaths::content(std::string_view path, const ObjectId& object, std::uint64_t offset, std::uint64_t length) {
    TouchedPath* t = changed(path, object);
    if (t == nullptr || offset >= kEndOfFile || length == 0) return;
    add_range(*t, offset, std::min(length, kEndOfFile - offset));
}

void TouchedPaths::apply(const CreateRecord& r) {
    if (born_.size() < limit_) born_.insert(r.object);
    TouchedPath* t = touch(r.path);
    if (t == nullptr) return;
    keep_object(*t);
    add_all_content(*t);
    touch(parent_of(r.path));
}

// The old name is compared by content too: if the sink looks at it only after its other name was written to and removed
// again, nothing else would tell.
void TouchedPaths::apply(const LinkRecord& r) {
    born_.erase(r.object);
    if (TouchedPath* old = touch(r.path)) add_all_content(*old);
    if (TouchedPath* added = touch(r.new_path)) {
        keep_object(*added);
        add_all_content(*added);
        touch(parent_of(r.new_path));
    }
}

void TouchedPaths::apply(const FallocateRecord& r) {
    const bool moves_the_rest = (r.mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) != 0;
    content(r.path, r.object, r.offset, moves_the_rest ? kEndOfFile : r.length);
}

void TouchedPaths::apply(const AttributesRecord& r) {
    changed(r.path, r.object);
    if ((r.valid & AttributesRecord::kSize) != 0) content(r.path, r.object, r.size, kEndOfFile);
}

// Beneath a directory that went away there may be names which the sink still has, and a new directory may take its
// place: so the old path is deep as well.
void TouchedPaths::apply(const RenameRecord& r) {
    auto moved = extract_within(r.path);
    auto other = extract_within(r.new_path);
    if (r.exchange) {
        insert_moved(std::move(other), r.new_path, r.path);
        replaced(r.path);
    } else {
        for (auto& [path, t] : other) keep_object(t);
        if (TouchedPath* left = touch(r.path)) left->deep = true;
    }
    insert_moved(std::move(moved), r.path, r.new_path);
    replaced(r.new_path);
    if (!is_state(r.path)) touch(parent_of(r.path));
    if (!is_state(r.new_path)) touch(parent_of(r.new_path));
}

void TouchedPaths::replaced(std::string_view path) {
    TouchedPath* t = touch(path);
    if (t == nullptr) return;
    t->deep = true;
    add_all_content(*t);
}

void TouchedPaths::removed(std::string_view path) {
    TouchedPath* t = touch(path);
    if (t == nullptr) return;
    keep_object(*t);
    t->content = false;
    t->ranges.clear();
    touch(parent_of(path));
}

// The path stands for another object from now on; what it stood for may have other names.
void TouchedPaths::keep_object(TouchedPath& t) {
    if (t.object == ObjectId{}) return;
    if (born_.contains(t.object)) {
        t.object = {};
        return;
    }
    const auto [at, added] = lost_.try_emplace(t.object, t);
    TouchedPath& kept = at->second;
    if (added) {
        kept.deep = false;
    } else if (t.content && t.ranges.empty()) {
        add_all_content(kept);
    } else {
        for (const auto& [offset, length] : t.ranges) add_range(kept, offset, length);
    }
    t.object = {};
}

TouchedPaths::Paths TouchedPaths::extract_within(std::string_view path) {
    Paths out;
    const auto take = [&](Paths::iterator at) {
        auto next = std::next(at);
        out.insert(paths_.extract(at));
        return next;
    };
    if (const auto self = paths_.find(path); self != paths_.end()) take(self);
    const std::string beneath = std::string(path) + '/';
    auto at = paths_.lower_bound(beneath);
    while (at != paths_.end() && std::string_view(at->first).substr(0, beneath.size()) == beneath) at = take(at);
    return out;
}

void TouchedPaths::insert_moved(Paths moved, std::string_view from, std::string_view to) {
    if (is_state(to)) {
        for (auto& [path, t] : moved) keep_object(t);
        return;
    }
    while (!moved.empty()) {
        auto node = moved.extract(moved.begin());
        node.key() = std::string(to) + node.key().substr(from.size());
        node.mapped().path = node.key();
        paths_.insert(std::move(node));
    }
}

// Comparing a few files too many costs reading; memory without a bound would cost the master.
void TouchedPaths::coarsen() {
    all_links_ = true;
    lost_.clear();
    while (paths_.size() > limit_ / 2 && paths_.size() > 1) {
        Paths coarser;
        const TouchedPath* above = nullptr;
        for (const auto& [path, t] : paths_) {
            const auto parent = parent_of(path);
            if (above != nullptr && is_within(parent, above->path)) continue;
            TouchedPath directory;
            directory.path = std::string(parent);
            directory.deep = true;
            above = &coarser.insert_or_assign(directory.path, directory).first->second;
        }
        paths_ = std::move(coarser);
    }
}

std::uint64_t TouchedPaths::content_bytes() const {
    std::uint64_t sum = 0;
    for (const auto& [path, t] : paths_) {
        if (t.content && t.ranges.empty()) return ~std::uint64_t{0};
        for (const auto& [offset, length] : t.ranges) sum += std::min(length, kEndOfFile - std::min(sum, kEndOfFile));
    }
    return sum;
}

bool TouchedPaths::lost_content() const {
    return std::any_of(lost_.begin(), lost_.end(), [](const auto& one) { return one.second.content; });
}

std::vector<TouchedPath> TouchedPaths::take() {
    std::vector<TouchedPath> out;
    out.reserve(size());
    for (auto& [path, t] : paths_) out.push_back(std::move(t));
    for (auto& [object, t] : lost_) out.push_back(std::move(t));
    const auto by_path = [](const TouchedPath& a, const TouchedPath& b) { return a.path < b.path; };
    std::stable_sort(out.begin(), out.end(), by_path);
    for (auto& t : out) simplify(t.ranges);
    paths_.clear();
    lost_.clear();
    born_.clear();
    all_links_ = false;
    return out;
}

}  // namespace tdfs

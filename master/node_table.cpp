#include "master/node_table.hpp"

#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "proto/path.hpp"

namespace tdfs {

static_assert(sizeof(Node) <= 112, "a million of them are usual");

bool Links::contains(const Node* parent, std::string_view name) const {
    const auto same = [&](const Link& link) { return link.parent == parent && link.name == name; };
    return same(first_) || std::any_of(more_.begin(), more_.end(), same);
}

void Links::add(Node* parent, std::string_view name) {
    if (empty()) {
        first_ = {parent, std::string(name)};
    } else {
        more_.push_front({parent, std::string(name)});
    }
}

Link Links::take_front() {
    Link taken = std::exchange(first_, {});
    if (!more_.empty()) {
        first_ = std::move(more_.front());
        more_.pop_front();
    }
    return taken;
}

bool Links::remove(const Node* parent, std::string_view name) {
    if (first_.parent == parent && first_.name == name) {
        take_front();
        return true;
    }
    return more_.remove_if([&](const Link& link) { return link.parent == parent && link.name == name; }) != 0;
}

RecentDirectories::Fd RecentDirectories::find(const Node* node) {
    const auto place = places_.find(node);
    if (place == places_.end()) {
        const auto kept = kept_.find(node);
        return kept == kept_.end() ? nullptr : kept->second;
    }
    order_.splice(order_.begin(), order_, place->second);
    return order_.front().second;
}

void RecentDirectories::add(const Node* node, Fd fd) {
    forget(node);
    order_.emplace_front(node, std::move(fd));
    places_[node] = order_.begin();
    if (order_.size() > limit_) forget(order_.back().first);
}

void RecentDirectories::keep(const Node* node) {
    const auto place = places_.find(node);
    if (place == places_.end()) return;
    kept_.emplace(node, std::move(place->second->second));
    order_.erase(place->second);
    places_.erase(place);
}

void RecentDirectories::forget(const Node* node) {
    kept_.erase(node);
    const auto place = places_.find(node);
    if (place == places_.end()) return;
    order_.erase(place->second);
    places_.erase(place);
}

NodeTable::NodeTable(int root, const FileInfo& root_info, std::size_t max_dir_fds)
    : root_fd_(root), recent_(max_dir_fds) {
    root_.id = root_info.object;
    root_.is_dir = true;
    root_.lookups = 1;  // never dropped
    by_ino_.emplace(root_.id.ino, &root_);
}

NodeTable::~NodeTable() {
    // The kernel forgets nothing when a connection ends: what is left is freed here, whatever refers to what.
    std::vector<Node*> left;
    for (auto& [ino, node] : by_ino_) {
        if (node != &root_) left.push_back(node);
    }
    left.insert(left.end(), orphans_.begin(), orphans_.end());
    for (Node* node : left) delete node;
}

std::size_t NodeTable::size() const {
    const std::lock_guard guard(mutex_);
    return count_;
}

Node* NodeTable::insert(const FileInfo& info) {
    auto* node = new Node;
    node->id = info.object;
    node->is_dir = info.is_dir();
    node->is_regular = info.is_regular();
    ++count_;
    return node;
}

// The inode number may be used for another object from now on.
void NodeTable::orphan(std::uint64_t ino) {
    const auto found = by_ino_.find(ino);
    if (found == by_ino_.end()) return;
    orphans_.insert(found->second);
    by_ino_.erase(found);
}

Node* NodeTable::enter(Node* parent, std::string_view name, const FileInfo& info) {
    const std::lock_guard guard(mutex_);
    const auto found = by_ino_.find(info.object.ino);
    if (found != by_ino_.end() && found->second->id != info.object) orphan(info.object.ino);
    Node*& slot = by_ino_[info.object.ino];
    if (slot == nullptr) slot = insert(info);
    Node* node = slot;
    if (node != &root_) link_locked(node, parent, name);
    ++node->lookups;
    return node;
}

Node* NodeTable::enter_unnamed(const FileInfo& info) {
    const std::lock_guard guard(mutex_);
    orphan(info.object.ino);
    Node* node = insert(info);
    node->is_tmpfile = true;
    node->lookups = 1;
    by_ino_[info.object.ino] = node;
    return node;
}

void NodeTable::forget(Node* node, std::uint64_t references) {
    const std::lock_guard guard(mutex_);
    if (node == &root_) return;
    TDFS_INVARIANT(references <= node->lookups, "the kernel forgets no more than it was told");
    node->lookups -= references;
    drop_if_unused(node);
}

void NodeTable::pin(Node* node) {
    const std::lock_guard guard(mutex_);
    ++node->pins;
}

void NodeTable::unpin(Node* node) {
    const std::lock_guard guard(mutex_);
    --node->pins;
    drop_if_unused(node);
}

void NodeTable::drop_if_unused(Node* node) {
    while (node != &root_ && node->lookups == 0 && node->pins == 0) {
        const auto found = by_ino_.find(node->id.ino);
        if (found != by_ino_.end() && found->second == node) by_ino_.erase(found);
        orphans_.erase(node);
        if (node->is_dir) recent_.forget(node);
        // Every link pinned its parent. Only files have several, so the walk up follows the last one. That one's pin stays
        // until the others are through: it may be an ancestor of theirs, and must not go with them.
        Node* up = nullptr;
        while (!node->links.empty()) {
            if (up != nullptr) {
                --up->pins;
                drop_if_unused(up);
            }
            up = node->links.take_front().parent;
        }
        if (up != nullptr) --up->pins;
        delete node;
        --count_;
        if (up == nullptr) return;
        node = up;
    }
}

void NodeTable::opened(Node* node, int fd) {
    const std::lock_guard guard(mutex_);
    node->open_fds.push_front(fd);
    ++node->pins;
}

void NodeTable::closed(Node* node, int fd) {
    const std::lock_guard guard(mutex_);
    std::size_t copies = 0;  // of a descriptor: one
    node->open_fds.remove_if([&](int open) { return open == fd && ++copies != 0; });
    TDFS_INVARIANT(copies == 1, "a file is closed once");
    --node->pins;
    drop_if_unused(node);
}

Node* NodeTable::find_pinned(std::uint64_t ino) {
    const std::lock_guard guard(mutex_);
    const auto found = by_ino_.find(ino);
    if (found == by_ino_.end()) return nullptr;
    ++found->second->pins;
    return found->second;
}

void NodeTable::link_locked(Node* node, Node* parent, std::string_view name) {
    if (node->links.contains(parent, name)) return;
    if (node->is_dir &&
        !node->links.empty()) {  // a directory has one place: what is known is older than what was found
        Node* const old = node->links.take_front().parent;
        --old->pins;
        drop_if_unused(old);
    }
    node->links.add(parent, name);
    ++parent->pins;
}

void NodeTable::unlink_locked(Node* node, Node* parent, std::string_view name) {
    if (!node->links.remove(parent, name)) return;
    --parent->pins;
    drop_if_unused(parent);
}

void NodeTable::add_link(Node* node, Node* parent, std::string_view name) {
    const std::lock_guard guard(mutex_);
    if (node != &root_) link_locked(node, parent, name);
}

void NodeTable::hold_directory(std::uint64_t ino) {
    const std::lock_guard guard(mutex_);
    const auto found = by_ino_.find(ino);
    if (found != by_ino_.end()) static_cast<void>(directory_locked(found->second));
}

void NodeTable::remove_link(const ObjectId& object, Node* parent, std::string_view name, bool gone) {
    const std::lock_guard guard(mutex_);
    const auto found = by_ino_.find(object.ino);
    if (found == by_ino_.end()) return;
    Node* node = found->second;
    const bool is_another = node->id != object;
    if (is_another) {
        const auto old = std::find_if(orphans_.begin(), orphans_.end(), [&](const Node* n) { return n->id == object; });
        if (old == orphans_.end()) return;
        node = *old;
    }
    unlink_locked(node, parent, name);
    // With a name left it is another object after all, born within the same tick of the clock.
    if (!gone || !node->links.empty()) return;
    recent_.keep(node);
    if (!is_another) orphan(object.ino);
}

void NodeTable::move_link(std::uint64_t ino, Node* parent, std::string_view name, Node* new_parent,
                          std::string_view new_name) {
    const std::lock_guard guard(mutex_);
    const auto found = by_ino_.find(ino);
    if (found == by_ino_.end()) return;
    Node* node = found->second;
    ++new_parent->pins;  // may be held by nothing but the link that goes
    unlink_locked(node, parent, name);
    link_locked(node, new_parent, new_name);
    --new_parent->pins;
    drop_if_unused(new_parent);
}

void NodeTable::exchange_links(std::uint64_t ino, Node* parent, std::string_view name, std::uint64_t other_ino,
                               Node* other_parent, std::string_view other_name) {
    const std::lock_guard guard(mutex_);
    ++parent->pins;
    ++other_parent->pins;
    const auto one = by_ino_.find(ino);
    const auto two = by_ino_.find(other_ino);
    if (one != by_ino_.end()) unlink_locked(one->second, parent, name);
    if (two != by_ino_.end()) unlink_locked(two->second, other_parent, other_name);
    if (one != by_ino_.end()) link_locked(one->second, other_parent, other_name);
    if (two != by_ino_.end()) link_locked(two->second, parent, name);
    --parent->pins;
    --other_parent->pins;
    drop_if_unused(parent);
    if (other_parent != parent) drop_if_unused(other_parent);
}

SysResult<std::string> NodeTable::path_locked(const Node* node) const {
    std::size_t bytes = 0;
    for (const Node* at = node; at != &root_; at = at->links.front().parent) {
        if (at->links.empty()) return fail(ENOENT);
        bytes += at->links.front().name.size() + 1;
    }
    if (bytes > kMaxPathBytes) return fail(ENAMETOOLONG);
    std::string path(bytes == 0 ? 0 : bytes - 1, '/');
    std::size_t end = path.size();
    for (const Node* at = node; at != &root_; at = at->links.front().parent) {
        const std::string& name = at->links.front().name;
        end -= name.size();
        name.copy(path.data() + end, name.size());
        if (end > 0) --end;
    }
    return path;
}

SysResult<std::string> NodeTable::path(Node* node) {
    const std::lock_guard guard(mutex_);
    return path_locked(node);
}

SysResult<std::string> NodeTable::path(Node* parent, std::string_view name) {
    const std::lock_guard guard(mutex_);
    auto path = path_locked(parent);
    if (!path) return path;
    if (path->size() + 1 + name.size() > kMaxPathBytes) return fail(ENAMETOOLONG);
    if (!path->empty()) *path += '/';
    *path += name;
    return path;
}

bool NodeTable::has_name(Node* node) {
    const std::lock_guard guard(mutex_);
    return node == &root_ || !node->links.empty();
}

SysResult<NodePlace> NodeTable::place(Node* node) {
    const std::lock_guard guard(mutex_);
    NodePlace place;
    if (node == &root_) {
        auto dir = directory_locked(node);
        if (!dir) return fail(dir.error());
        place.dir = *dir;  // name "": the directory itself
        return place;
    }
    if (!node->links.empty()) {
        auto dir = directory_locked(node->links.front().parent);
        if (!dir) return fail(dir.error());
        place.dir = *dir;
        place.name = node->links.front().name;
        return place;
    }
    if (auto fd = recent_.find(node)) {
        place.dir = std::move(fd);
        return place;
    }
    if (node->open_fds.empty()) return fail(ENOENT);
    place.fd = node->open_fds.front();
    return place;
}

int NodeTable::open_fd(Node* node) {
    const std::lock_guard guard(mutex_);
    return node->open_fds.empty() ? -1 : node->open_fds.front();
}

SysResult<std::shared_ptr<const OwnFd>> NodeTable::directory(Node* node) {
    const std::lock_guard guard(mutex_);
    return directory_locked(node);
}

SysResult<std::shared_ptr<const OwnFd>> NodeTable::directory_locked(Node* node) {
    if (!node->is_dir) return fail(ENOTDIR);
    // Up to the nearest directory with a descriptor, then down again, a component at a time (paths may exceed PATH_MAX).
    std::vector<const Node*> missing;
    const Node* at = node;
    RecentDirectories::Fd fd = recent_.find(at);
    while (!fd && at != &root_ && !at->links.empty()) {
        missing.push_back(at);
        at = at->links.front().parent;
        fd = recent_.find(at);
    }
    if (!fd) {
        if (at != &root_ && at->open_fds.empty()) return fail(ENOENT);
        auto opened = open_at(at == &root_ ? root_fd_ : at->open_fds.front(), "", O_PATH | O_DIRECTORY);
        if (!opened) return fail(opened.error());
        fd = std::make_shared<const OwnFd>(std::move(*opened));
        recent_.add(at, fd);
    }
    for (auto next = missing.rbegin(); next != missing.rend(); ++next) {
        auto opened = open_at(fd->get(), (*next)->links.front().name, O_PATH | O_DIRECTORY);
        if (!opened) return fail(opened.error());
        fd = std::make_shared<const OwnFd>(std::move(*opened));
        recent_.add(*next, fd);
    }
    return fd;
}

}  // namespace tdfs

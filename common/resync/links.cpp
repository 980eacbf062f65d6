#include "common/resync/links.hpp"

#include <utility>

#include "proto/result.hpp"

namespace tdfs {

LinkGroup* LinkGroups::find(const ObjectId& object) {
    const auto at = groups_.find(object);
    return at == groups_.end() ? nullptr : &at->second;
}

// Somebody else removed the file from the replica, and the system gave its inode number to a new one.
void LinkGroups::unbind(std::uint64_t ino) {
    const auto at = by_ino_.find(ino);
    if (at == by_ino_.end()) return;
    const auto names = groups_[at->second].names;
    for (const auto& name : names) drop_name(name);
}

LinkGroup& LinkGroups::bind(const ObjectId& object, std::uint64_t ino, const std::string& name) {
    unbind(ino);
    LinkGroup& group = groups_[object];
    group.object = object;
    group.ino = ino;
    by_ino_[ino] = object;
    add_name(group, name);
    return group;
}

LinkGroup& LinkGroups::begin_building(const ObjectId& object, const std::string& name) {
    LinkGroup& group = groups_[object];
    TDFS_INVARIANT(group.ino == 0, "an object built that is there");
    group.object = object;
    group.builder = name;
    return group;
}

std::vector<std::string> LinkGroups::built(LinkGroup& group, std::uint64_t ino) {
    unbind(ino);
    group.ino = ino;
    by_ino_[ino] = group.object;
    add_name(group, std::exchange(group.builder, {}));
    return std::exchange(group.waiting, {});
}

std::vector<std::string> LinkGroups::give_up(LinkGroup& group) {
    TDFS_INVARIANT(group.ino == 0, "a group given up that is there");
    auto waiting = std::move(group.waiting);
    groups_.erase(group.object);
    return waiting;
}

void LinkGroups::add_name(LinkGroup& group, const std::string& name) {
    if (group.names.count(name) != 0) return;
    const ObjectId object = group.object;
    drop_name(name);
    group.names.insert(name);
    by_name_[name] = object;
}

LinkGroups::Names::iterator LinkGroups::drop(Names::iterator at) {
    const auto group = groups_.find(at->second);
    group->second.names.erase(at->first);
    if (group->second.names.empty()) {
        by_ino_.erase(group->second.ino);
        groups_.erase(group);
    }
    return by_name_.erase(at);
}

void LinkGroups::drop_name(std::string_view name) {
    if (const auto at = by_name_.find(name); at != by_name_.end()) drop(at);
}

void LinkGroups::drop_name_unless(std::string_view name, const ObjectId& object, std::uint64_t ino) {
    const auto at = by_name_.find(name);
    if (at != by_name_.end() && (at->second != object || groups_[object].ino != ino)) drop(at);
}

void LinkGroups::drop_within(std::string_view path) {
    drop_name(path);
    const std::string beneath = std::string(path) + '/';
    auto at = by_name_.lower_bound(beneath);
    while (at != by_name_.end() && std::string_view(at->first).substr(0, beneath.size()) == beneath) at = drop(at);
}

std::vector<std::pair<std::string, ObjectId>> LinkGroups::all() const {
    std::vector<std::pair<std::string, ObjectId>> out;
    for (const auto& [object, group] : groups_) {
        if (!group.names.empty()) out.emplace_back(*group.names.begin(), object);
    }
    return out;
}

}  // namespace tdfs

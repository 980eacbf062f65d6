// Which names of the replica belong to one object of the master, as far as objects with several names go.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proto/ids.hpp"

namespace tdfs {

struct LinkGroup {
    ObjectId object;
    std::uint64_t ino = 0;                          // of the replica; 0 while it is being built
    std::string builder;                            // the name it is being built for
    std::set<std::string> names;                    // names that are this inode now
    std::vector<std::string> waiting;               // names to be linked once it is built
    std::uint32_t compared_in = ~std::uint32_t{0};  // the round in which all of it was compared last
};

// Invariant: a local inode belongs to one group at most, a name to one at most, and a group without names, builder and
// waiting names does not exist. Takes memory for each name of an object with several names only. Not thread-safe;
// pointers are good until the next call that is not const.
class LinkGroups {
  public:
    LinkGroup* find(const ObjectId& object);
    [[nodiscard]] bool is_bound(std::uint64_t ino) const { return by_ino_.count(ino) != 0; }
    [[nodiscard]] std::size_t size() const { return groups_.size(); }

    LinkGroup& bind(const ObjectId& object, std::uint64_t ino, const std::string& name);
    LinkGroup& begin_building(const ObjectId& object, const std::string& name);
    // The file that was built has its place: gives the names that wait for it.
    std::vector<std::string> built(LinkGroup& group, std::uint64_t ino);
    // It could not be built: the group ends.
    std::vector<std::string> give_up(LinkGroup& group);
    void add_name(LinkGroup& group, const std::string& name);

    // The name does not stand for what it did any more. The group may end.
    void drop_name(std::string_view name);
    void drop_name_unless(std::string_view name, const ObjectId& object, std::uint64_t ino);  // it is that object's
    void drop_within(std::string_view path);                                                  // with all names beneath

    // One name of every group.
    [[nodiscard]] std::vector<std::pair<std::string, ObjectId>> all() const;

  private:
    using Names = std::map<std::string, ObjectId, std::less<>>;
    Names::iterator drop(Names::iterator at);
    void unbind(std::uint64_t ino);

    std::map<ObjectId, LinkGroup> groups_;
    std::unordered_map<std::uint64_t, ObjectId> by_ino_;
    Names by_name_;
};

}  // namespace tdfs

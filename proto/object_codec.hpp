// What messages about objects have in common: entries, lists of pairs, extended attributes. Private to proto.
#pragma once

#include <utility>
#include <vector>

#include "proto/codec.hpp"
#include "proto/resync.hpp"

namespace tdfs {

inline constexpr std::size_t kLeastEntryBytes = 68;
inline constexpr std::size_t kPairBytes = 16;
inline constexpr std::size_t kLeastXattrBytes = 7;
inline constexpr std::size_t kMaxXattrs = kMaxXattrsBytes / kLeastXattrBytes;

using NumberPairs = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
using XattrList = std::vector<std::pair<std::string, Bytes>>;

template <class C>
void fields(C& c, typename C::template Value<Entry>& m) {
    c.short_text(m.name, kMaxNameBytes);
    c.object(m.object);
    c.number(m.links);
    c.number(m.mode);
    c.number(m.uid);
    c.number(m.gid);
    c.number(m.rdev);
    c.number(m.size);
    c.number(m.mtime_ns);
    c.number(m.xattr_hash);
    c.short_text(m.target, kMaxSymlinkBytes);
    c.require(m.name.empty() || is_valid_name(m.name), "name not valid");
    c.require(m.target.find('\0') == std::string::npos, "target not valid");
    c.require(m.size <= kMaxFileBytes, kBeyond);
}

template <class C>
void pairs(C& c, typename C::template Value<NumberPairs>& list, std::size_t limit) {
    c.count(list, limit, kPairBytes);
    for (auto& [first, second] : list) {
        c.number(first);
        c.number(second);
    }
}

template <class C>
void xattr_list(C& c, typename C::template Value<XattrList>& list) {
    c.count(list, kMaxXattrs, kLeastXattrBytes);
    std::size_t bytes = 0;
    const std::string* before = nullptr;
    for (auto& [name, value] : list) {
        c.xattr_name(name);
        c.long_bytes(value, kMaxXattrValueBytes);
        bytes += name.size() + value.size();
        c.require(bytes <= kMaxXattrsBytes, "extended attributes too long");
        c.require(!before || *before < name, "extended attributes out of order");
        before = &name;
    }
}

}  // namespace tdfs

// Says in which ways two directory trees differ. The judge of every test that compares a replica with its master, so it
// uses nothing of the code under test.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace tdfs::test {

struct CompareOptions {
    std::size_t limit = 20;  // stop after so many differences
    bool holes = true;       // where regular files have been written and where nothing is allocated, in units of 4 KiB
    bool times = true;       // modification times, to the nanosecond
    bool owners = true;
    bool skip_state = true;  // leaves out ".tdfs" in both roots
};

// Compares names, types, content, holes, permissions, owners, modification times, extended attributes (ACLs included),
// targets of symlinks, device numbers, and which names are hard links of one another; of the two root directories too.
// One line for each difference, with the path (bytes that are not printable as \xNN); empty: the trees are equal.
// Something that cannot be read is a difference. Holds two descriptors for each level of depth.
[[nodiscard]] std::vector<std::string> compare_trees(const std::string& left, const std::string& right,
                                                     const CompareOptions& options = {});

// The same as one text with a line each, for INFO and CHECK(... == "").
[[nodiscard]] std::string tree_differences(const std::string& left, const std::string& right,
                                           const CompareOptions& options = {});

}  // namespace tdfs::test

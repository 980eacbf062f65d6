// A directory tree in memory: what a directory holds, what a history of records makes of it, and how two differ.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "proto/record.hpp"

namespace tdfs::sim {

struct Object {
    std::uint64_t ino = 0;  // of the directory it was read from
    std::uint32_t mode = 0;
    std::uint32_t uid = 0, gid = 0;
    std::uint64_t rdev = 0;
    std::int64_t mtime_ns = 0;
    Bytes data;                      // of a regular file
    std::uint64_t sparse_bytes = 0;  // its size, where it is too large to be read
    std::string target;              // of a symlink
    std::map<std::string, Bytes> xattrs;

    [[nodiscard]] bool is_dir() const;
    [[nodiscard]] bool is_regular() const;
};

// Paths relative to the root, which is "". Names of one object share it. Carries records out in memory, by rules of its
// own: none of the code under test is used but the types of records.
class Tree {
  public:
    Tree();
    // What stands in a directory now. `with_state`: also .tdfs.
    static Tree read(const std::string& dir, bool with_state);
    [[nodiscard]] Tree copy() const;  // shares nothing

    // Not empty: what is wrong with the record here.
    [[nodiscard]] std::string apply(const Record& r);

    [[nodiscard]] const std::map<std::string, std::shared_ptr<Object>>& objects() const { return objects_; }
    [[nodiscard]] const Object* find(const std::string& path) const;

    enum class Times { kIgnored, kCompared };
    // The first difference in words; empty: none. Leaves .tdfs out.
    [[nodiscard]] std::string difference(const Tree& other, Times times) const;

  private:
    friend struct Carry;
    std::map<std::string, std::shared_ptr<Object>> objects_;
};

}  // namespace tdfs::sim

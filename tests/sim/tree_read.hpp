// Objects of a real directory: read, made, removed.
#pragma once

#include <memory>
#include <string>

#include "tests/sim/tree.hpp"

namespace tdfs::sim {

// Files above this are not read; they are known by their size (the master's table of operations in flight, which
// counts only while the machine runs).
inline constexpr std::uint64_t kMaxReadBytes = 1024 * 1024;

enum class Follow { kNo, kYes };
std::shared_ptr<Object> read_object(const std::string& path, Follow follow);

void make_object(const std::string& path, const Object& object);
void set_times(const std::string& path, const Object& object);
void remove_content(const std::string& dir);  // all that is in it

}  // namespace tdfs::sim

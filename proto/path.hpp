// Names and relative paths: validated bytes, not text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tdfs {

inline constexpr std::size_t kMaxNameBytes = 255;
inline constexpr std::size_t kMaxPathBytes = 32 * 1024;  // deeper trees are ENAMETOOLONG on the mount
inline constexpr std::string_view kStateName = ".tdfs";  // hidden in the root directory, never replicated as such
// Objects without a name of their own yet (O_TMPFILE that gets linked, big files in resync) are built under this path,
// which a replica keeps in its root directory and the mount never shows.
inline constexpr std::string_view kStagePath = ".tdfs/stage";

// One component: 1..255 bytes, neither "." nor "..", no '/' and no NUL.
[[nodiscard]] bool is_valid_name(std::string_view name);

// Zero or more components joined by single '/'; the empty path is the root directory itself. At most kMaxPathBytes.
[[nodiscard]] bool is_valid_path(std::string_view path);

// A valid path that a record or message may name: the state directory is out of bounds, but for what lies beneath
// kStagePath. So no peer, however hostile, reaches a journal or an identity.
[[nodiscard]] bool is_replicated_path(std::string_view path);

// True for `path` equal to `ancestor` or beneath it. The root ("") contains everything.
[[nodiscard]] bool is_within(std::string_view path, std::string_view ancestor);

// "a/b/c" -> "a/b"; "a" -> "" (the root). The last component is leaf_of.
[[nodiscard]] std::string_view parent_of(std::string_view path);
[[nodiscard]] std::string_view leaf_of(std::string_view path);
[[nodiscard]] std::string join(std::string_view parent, std::string_view name);

// For messages and logs: printable UTF-8 stays, every other byte becomes \xNN, backslash becomes "\\". Reversible.
[[nodiscard]] std::string printable(std::string_view bytes);

}  // namespace tdfs

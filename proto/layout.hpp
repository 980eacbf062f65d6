// The formats as text, kept next to the code that writes them and quoted word for word in FORMAT.md. format_hash() is
// taken over them, so that daemons whose formats differ refuse each other: whoever changes a layout, a bound or a
// meaning changes its text. Private to proto (and its tests).
#pragma once

#include <string>
#include <string_view>

namespace tdfs {

[[nodiscard]] std::string_view frame_layout();
[[nodiscard]] std::string_view record_layout();
[[nodiscard]] std::string_view session_layout();
[[nodiscard]] std::string_view resync_layout();
[[nodiscard]] std::string_view inspect_layout();

// All of them, in this order.
[[nodiscard]] std::string format_layout();

}  // namespace tdfs

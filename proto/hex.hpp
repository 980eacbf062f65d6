#pragma once

#include <string_view>

namespace tdfs {

inline constexpr std::string_view kHexDigits = "0123456789abcdef";

}  // namespace tdfs

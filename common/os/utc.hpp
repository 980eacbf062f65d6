// Wall-clock times for people.
#pragma once

#include <cstdint>
#include <string>

namespace tdfs {

// "2026-01-31T23:59:59Z" for nanoseconds since 1970; "?" where no calendar has that time.
std::string utc_text(std::uint64_t ns);
std::string utc_text_micros(std::uint64_t ns);  // with ".123456" before the Z

}  // namespace tdfs

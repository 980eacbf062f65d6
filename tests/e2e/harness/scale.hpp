// How big a test is, and which random numbers it uses.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace tdfs::e2e {

// `n` of a full run, made smaller by TDFS_TEST_SCALE (a factor such as 0.1) and in builds with a sanitizer.
std::size_t scaled(std::size_t n, std::size_t at_least = 1);

// True where the tests or, as TDFS_SANITIZED tells, the programs have a sanitizer: sizes and memory say nothing then.
bool sanitized();

// How long to wait for something that must come, before the test says that it hangs.
std::chrono::seconds patience();

// The seed of a random test: TDFS_SEED repeats a run, else any. Printed with `what`.
std::uint64_t seed_for(const std::string& what);

}  // namespace tdfs::e2e

// The largest piece of memory this thread has asked operator new for, to prove that decoders bound what they take.
#pragma once

#include <cstddef>

namespace tdfs::test {

void forget_allocations();
[[nodiscard]] std::size_t largest_allocation_bytes();

}  // namespace tdfs::test

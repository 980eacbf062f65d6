#include "tests/unit/proto/allocation_meter.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace {

thread_local std::size_t largest = 0;

}  // namespace

void operator delete(void* p, std::size_t) noexcept;  // clang's <new> may not have it

void* operator new(std::size_t n) {
    largest = std::max(largest, n);
    if (void* p = std::malloc(n == 0 ? 1 : n)) return p;
    throw std::bad_alloc();
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
    largest = std::max(largest, n);
    return std::malloc(n == 0 ? 1 : n);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }

namespace tdfs::test {

void forget_allocations() { largest = 0; }
std::size_t largest_allocation_bytes() { return largest; }

}  // namespace tdfs::test

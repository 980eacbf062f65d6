#include "proto/checksum.hpp"

#include <new>

// xxHash is compiled in rather than linked: only so is the size of its streaming state known for certain, and the state
// can live on the stack.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tdfs {

namespace {

template <class Storage>
auto* state_in(Storage& storage) {
    static_assert(sizeof(Storage) == sizeof(XXH3_state_t) && alignof(XXH3_state_t) <= 64);
    if constexpr (std::is_const_v<Storage>) {
        return std::launder(static_cast<const XXH3_state_t*>(static_cast<const void*>(storage.data())));
    } else {
        return std::launder(static_cast<XXH3_state_t*>(static_cast<void*>(storage.data())));
    }
}

}  // namespace

Checksum::Checksum() {
    auto* state = new (state_.data()) XXH3_state_t;
    XXH3_INITSTATE(state);
    XXH3_64bits_reset(state);
}

void Checksum::add(ByteView bytes) {
    if (!bytes.empty()) XXH3_64bits_update(state_in(state_), bytes.data(), bytes.size());
}

std::uint64_t Checksum::value() const { return XXH3_64bits_digest(state_in(state_)); }

std::uint64_t checksum(ByteView bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

BlockHash block_hash(ByteView bytes) {
    const auto hash = XXH3_128bits(bytes.data(), bytes.size());
    return {hash.low64, hash.high64};
}

}  // namespace tdfs

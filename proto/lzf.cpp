#include "proto/lzf.hpp"

#include <limits>

#include <lzf.h>

namespace tdfs {

namespace {

// liblzf counts in unsigned int.
constexpr std::size_t kMaxLzfBytes = std::numeric_limits<unsigned int>::max();

}  // namespace

bool lzf_compress(ByteView in, Bytes& out) {
    out.clear();
    if (in.size() < 2 || in.size() > kMaxLzfBytes) return false;
    // One byte less than the input: liblzf gives 0 where the result does not fit, that is, where nothing is won.
    out.resize(in.size() - 1);
    const auto n = ::lzf_compress(in.data(), static_cast<unsigned int>(in.size()), out.data(),
                                  static_cast<unsigned int>(out.size()));
    out.resize(n);
    return n != 0;
}

Result<void, DecodeError> lzf_expand(ByteView in, std::size_t raw_size, Bytes& out) {
    out.clear();
    // liblzf reads its first byte before it looks at the length, and has no word for an empty result (0 is an error).
    if (in.empty() || raw_size == 0) return bad("compressed data without content");
    if (in.size() > kMaxLzfBytes || raw_size > kMaxLzfBytes) return bad("compressed data too long");
    out.resize(raw_size);
    const auto n = ::lzf_decompress(in.data(), static_cast<unsigned int>(in.size()), out.data(),
                                    static_cast<unsigned int>(raw_size));
    if (n == raw_size) return {};
    out.clear();
    return bad("compressed data damaged");
}

}  // namespace tdfs

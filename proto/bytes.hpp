// Bounds-checked little-endian cursors over bytes. Nothing here trusts a length.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.hpp"

namespace tdfs {

static_assert(std::endian::native == std::endian::little, "big-endian hosts are not supported");

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;

inline ByteView as_bytes(std::string_view s) { return std::as_bytes(std::span(s.data(), s.size())); }
inline std::string_view as_text(ByteView b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

// Why foreign bytes were refused. `what` is a string literal fit for a message.
struct DecodeError {
    const char* what;
};
inline Unexpected<DecodeError> bad(const char* what) { return Unexpected<DecodeError>(DecodeError{what}); }

// Appends to a byte vector owned by the caller.
class ByteWriter {
  public:
    explicit ByteWriter(Bytes& out) : out_(out) {}
    template <std::unsigned_integral T>
    void put(T v) {
        const auto at = out_.size();
        out_.resize(at + sizeof v);
        std::memcpy(out_.data() + at, &v, sizeof v);
    }
    void put_bytes(ByteView b) { out_.insert(out_.end(), b.begin(), b.end()); }
    // u16 length, then the bytes. The caller has checked that the length fits.
    void put_short(ByteView b) {
        put(static_cast<std::uint16_t>(b.size()));
        put_bytes(b);
    }
    void put_long(ByteView b) {
        put(static_cast<std::uint32_t>(b.size()));
        put_bytes(b);
    }

  private:
    Bytes& out_;
};

// Reads front to back. After the first short read it stays failed, and everything read is zero or empty, so that a
// decoder may read all fields and ask ok() once.
class ByteReader {
  public:
    explicit ByteReader(ByteView in) : in_(in) {}
    template <std::unsigned_integral T>
    T get() {
        T v{};
        if (take(sizeof v)) std::memcpy(&v, in_.data() + at_ - sizeof v, sizeof v);
        return v;
    }
    ByteView get_bytes(std::size_t n) { return take(n) ? in_.subspan(at_ - n, n) : ByteView{}; }
    // u16 length, then the bytes; fails where the length is above `limit`.
    ByteView get_short(std::size_t limit) { return get_counted(get<std::uint16_t>(), limit); }
    ByteView get_long(std::size_t limit) { return get_counted(get<std::uint32_t>(), limit); }

    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] bool at_end() const { return ok_ && at_ == in_.size(); }
    [[nodiscard]] std::size_t remaining() const { return ok_ ? in_.size() - at_ : 0; }
    void set_failed() { ok_ = false; }

  private:
    bool take(std::size_t n) {
        if (!ok_ || n > in_.size() - at_) return ok_ = false;
        at_ += n;
        return true;
    }
    ByteView get_counted(std::size_t n, std::size_t limit) {
        if (n > limit) ok_ = false;
        return get_bytes(n);
    }
    ByteView in_;
    std::size_t at_ = 0;
    bool ok_ = true;
};

}  // namespace tdfs

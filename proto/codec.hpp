// Encoder and Decoder with the same verbs, so that one function fields(codec, value) per record or message both writes
// and reads it and the two directions cannot drift apart. Private to proto.
//
// The verbs' encodings stand in FORMAT.md: numbers little-endian, text and bytes after a u16 or u32 length.
#pragma once

#include <concepts>
#include <limits>
#include <type_traits>

#include "proto/bytes.hpp"
#include "proto/ids.hpp"
#include "proto/path.hpp"
#include "proto/record.hpp"
#include "proto/session.hpp"

namespace tdfs {

inline constexpr std::uint64_t kMaxFileBytes = std::numeric_limits<std::int64_t>::max();  // off_t's
inline constexpr const char* kBeyond = "bytes beyond the end of any file";

// Whether a file can have these bytes at all.
inline bool range_fits(std::uint64_t offset, std::uint64_t length) {
    return offset <= kMaxFileBytes && length <= kMaxFileBytes - offset;
}

// Appends to `out`. Lengths above their bounds are broken invariants: whoever calls has refused them long before.
class Encoder {
  public:
    template <class T>
    using Value = const T;  // what fields() gets

    explicit Encoder(Bytes& out) : out_(out) {}

    template <std::integral T>
    void number(T v) {
        out_.put(static_cast<std::make_unsigned_t<T>>(v));
    }
    template <class E>
    void one_of(E v, E /*last*/) {
        number(static_cast<std::underlying_type_t<E>>(v));
    }
    void flag(bool v) { number(static_cast<std::uint8_t>(v)); }
    void lsn(Lsn v) { number(v.bytes()); }
    void epoch(Epoch v) { number(v.id()); }
    void object(const ObjectId& v) {
        number(v.ino);
        number(v.birth_ns);
    }
    void volume(const VolumeId& v) { out_.put_bytes(v.bytes); }
    void path(std::string_view v) { short_text(v, kMaxPathBytes); }
    void xattr_name(std::string_view v) { short_text(v, kMaxXattrNameBytes); }
    void short_text(std::string_view v, std::size_t limit) { short_bytes(as_bytes(v), limit); }
    void short_bytes(ByteView v, std::size_t limit) {
        TDFS_INVARIANT(v.size() <= limit, "a path, name or target above its bound is encoded");
        out_.put_short(v);
    }
    void long_bytes(ByteView v, std::size_t limit) {
        TDFS_INVARIANT(v.size() <= limit, "data above its bound are encoded");
        out_.put_long(v);
    }
    void rest(ByteView v, std::size_t limit) {
        TDFS_INVARIANT(v.size() <= limit, "data above its bound are encoded");
        out_.put_bytes(v);
    }
    // Text for people is cut rather than refused: an error's text may quote a path of any length.
    void text(std::string_view v) { out_.put_short(as_bytes(v.substr(0, kMaxTextBytes))); }
    template <class List>
    void count(const List& v, std::size_t limit, std::size_t /*least_bytes*/) {
        TDFS_INVARIANT(v.size() <= limit, "a list above its bound is encoded");
        number(static_cast<std::uint32_t>(v.size()));
    }
    void require(bool /*condition*/, const char* /*what*/) {}

  private:
    ByteWriter out_;
};

// Reads front to back and keeps the first complaint; after it, everything read is zero or empty. Views that are read
// point into `in`.
class Decoder {
  public:
    template <class T>
    using Value = T;

    explicit Decoder(ByteView in) : in_(in) {}

    template <std::integral T>
    void number(T& v) {
        v = static_cast<T>(in_.get<std::make_unsigned_t<T>>());
    }
    template <class E>
    void one_of(E& v, E last) {
        const auto value = in_.get<std::underlying_type_t<E>>();
        require(value <= static_cast<std::underlying_type_t<E>>(last), "a number that stands for nothing");
        if (!error_) v = static_cast<E>(value);
    }
    void flag(bool& v) {
        const auto value = in_.get<std::uint8_t>();
        require(value <= 1, "a flag that is neither 0 nor 1");
        v = value == 1;
    }
    void lsn(Lsn& v) { v = Lsn(in_.get<std::uint64_t>()); }
    void epoch(Epoch& v) { v = Epoch(in_.get<std::uint64_t>()); }
    void object(ObjectId& v) {
        number(v.ino);
        number(v.birth_ns);
    }
    void volume(VolumeId& v) {
        const auto bytes = in_.get_bytes(v.bytes.size());
        if (!bytes.empty()) std::memcpy(v.bytes.data(), bytes.data(), bytes.size());
    }
    template <class Text>
    void path(Text& v) {
        short_text(v, kMaxPathBytes);
        require(is_replicated_path(v), "path not valid");
    }
    template <class Text>
    void xattr_name(Text& v) {
        short_text(v, kMaxXattrNameBytes);
        require(!v.empty() && v.find('\0') == Text::npos, "name of an extended attribute not valid");
    }
    template <class Text>
    void short_text(Text& v, std::size_t limit) {
        v = Text(as_text(in_.get_short(limit)));
    }
    void short_bytes(ByteView& v, std::size_t limit) { v = in_.get_short(limit); }
    template <class B>
    void long_bytes(B& v, std::size_t limit) {
        const auto bytes = in_.get_long(limit);
        v = B(bytes.begin(), bytes.end());
    }
    template <class B>
    void rest(B& v, std::size_t limit) {
        require(in_.remaining() <= limit, "data too long");
        const auto bytes = error_ ? ByteView() : in_.get_bytes(in_.remaining());
        v = B(bytes.begin(), bytes.end());
    }
    void text(std::string& v) { short_text(v, kMaxTextBytes); }
    // Resizes `v`, whose elements take at least `least_bytes` each: a count that what follows cannot hold is refused
    // before memory is taken for it.
    template <class List>
    void count(List& v, std::size_t limit, std::size_t least_bytes) {
        const auto n = std::size_t{in_.get<std::uint32_t>()};
        require(n <= limit && n <= in_.remaining() / least_bytes, "a count too high");
        v.resize(error_ || !in_.ok() ? 0 : n);
    }
    void require(bool condition, const char* what) {
        if (condition || !in_.ok()) return;
        if (!error_) error_ = what;
        in_.set_failed();
    }

    [[nodiscard]] bool ok() const { return in_.ok(); }
    // `value` if everything could be read and nothing is left over.
    template <class T>
    Result<T, DecodeError> finish(T value) {
        if (error_) return bad(error_);
        if (!in_.ok()) return bad("cut off, or a length above its bound");
        if (!in_.at_end()) return bad("bytes left over");
        return value;
    }

  private:
    ByteReader in_;
    const char* error_ = nullptr;
};

// Both find fields() by its argument: it stands in namespace tdfs itself, static to its file.
template <class T>
Bytes encode_fields(const T& value) {
    Bytes out;
    Encoder encoder(out);
    fields(encoder, value);
    return out;
}

template <class T>
Result<T, DecodeError> decode_fields(ByteView payload) {
    Decoder decoder(payload);
    T value;
    fields(decoder, value);
    return decoder.finish(std::move(value));
}

}  // namespace tdfs

#include "proto/ids.hpp"

#include <algorithm>
#include <charconv>
#include <random>

#include "proto/hex.hpp"

namespace tdfs {

namespace {

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Whether a dash stands before byte `i` of a UUID.
bool dash_before(std::size_t i) { return i == 4 || i == 6 || i == 8 || i == 10; }

std::uint64_t random_bits() {
    std::random_device device;
    return std::uniform_int_distribution<std::uint64_t>()(device);
}

}  // namespace

bool VolumeId::valid() const {
    return std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b != std::byte{0}; });
}

std::string VolumeId::text() const {
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (dash_before(i)) text += '-';
        const auto value = std::to_integer<unsigned>(bytes[i]);
        text += kHexDigits[value >> 4];
        text += kHexDigits[value & 15];
    }
    return text;
}

std::optional<VolumeId> VolumeId::parse(std::string_view text) {
    if (text.size() != 36) return std::nullopt;
    VolumeId id;
    std::size_t at = 0;
    for (std::size_t i = 0; i < id.bytes.size(); ++i) {
        if (dash_before(i) && text[at++] != '-') return std::nullopt;
        const int high = hex_value(text[at++]);
        const int low = hex_value(text[at++]);
        if (high < 0 || low < 0) return std::nullopt;
        id.bytes[i] = static_cast<std::byte>(high * 16 + low);
    }
    return id;
}

VolumeId VolumeId::random() {
    VolumeId id;
    for (std::size_t i = 0; i < id.bytes.size(); i += 8) {
        auto bits = random_bits();
        for (std::size_t k = 0; k < 8; ++k, bits >>= 8) id.bytes[i + k] = static_cast<std::byte>(bits & 0xff);
    }
    // Marked as a random UUID (RFC 4122, version 4), which also keeps it from ever being all zero.
    id.bytes[6] = (id.bytes[6] & std::byte{0x0f}) | std::byte{0x40};
    id.bytes[8] = (id.bytes[8] & std::byte{0x3f}) | std::byte{0x80};
    return id;
}

Epoch random_epoch() {
    for (;;) {
        const Epoch epoch(random_bits());
        if (epoch.valid()) return epoch;
    }
}

std::string to_text(const Position& p) {
    std::string text;
    for (int shift = 60; shift >= 0; shift -= 4) text += kHexDigits[(p.epoch.id() >> shift) & 15];
    return text + ':' + std::to_string(p.lsn.bytes());
}

std::optional<Position> parse_position(std::string_view text) {
    constexpr std::size_t kEpochDigits = 16;
    if (text.size() < kEpochDigits + 2 || text[kEpochDigits] != ':') return std::nullopt;
    const char* const begin = text.data();
    const char* const colon = begin + kEpochDigits;
    const char* const end = begin + text.size();
    std::uint64_t epoch = 0;
    std::uint64_t lsn = 0;
    const auto first = std::from_chars(begin, colon, epoch, 16);
    if (first.ec != std::errc() || first.ptr != colon) return std::nullopt;
    const auto second = std::from_chars(colon + 1, end, lsn, 10);
    if (second.ec != std::errc() || second.ptr != end) return std::nullopt;
    return Position{Epoch(epoch), Lsn(lsn)};
}

}  // namespace tdfs

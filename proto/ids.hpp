// Where in history (Lsn, Epoch, Position), of what (VolumeId), and which object (ObjectId).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tdfs {

// Log sequence number: a byte offset in the endless journal. The same number means the same byte on every machine.
class Lsn {
  public:
    constexpr Lsn() = default;
    explicit constexpr Lsn(std::uint64_t bytes) : bytes_(bytes) {}
    [[nodiscard]] constexpr std::uint64_t bytes() const { return bytes_; }
    friend constexpr auto operator<=>(Lsn, Lsn) = default;
    friend constexpr Lsn operator+(Lsn a, std::uint64_t n) { return Lsn(a.bytes_ + n); }
    // Bytes from b up to a; a must not be before b.
    friend constexpr std::uint64_t operator-(Lsn a, Lsn b) { return a.bytes_ - b.bytes_; }

  private:
    std::uint64_t bytes_ = 0;
};

// A random number, new whenever history could fork (creation, promotion, power loss of the master). Never 0.
class Epoch {
  public:
    constexpr Epoch() = default;
    explicit constexpr Epoch(std::uint64_t id) : id_(id) {}
    [[nodiscard]] constexpr std::uint64_t id() const { return id_; }
    [[nodiscard]] constexpr bool valid() const { return id_ != 0; }
    friend constexpr bool operator==(Epoch, Epoch) = default;

  private:
    std::uint64_t id_ = 0;
};

struct Position {
    Epoch epoch;
    Lsn lsn;
    friend constexpr bool operator==(const Position&, const Position&) = default;
};

// The master's inode number, made unique over its reuse by the birth time of the object (0 where the file system
// keeps none).
struct ObjectId {
    std::uint64_t ino = 0;
    std::uint64_t birth_ns = 0;
    friend constexpr auto operator<=>(const ObjectId&, const ObjectId&) = default;
};

// Names a volume for ever: 16 random bytes, written as a UUID. All zero means "none yet".
struct VolumeId {
    std::array<std::byte, 16> bytes{};

    [[nodiscard]] bool valid() const;
    [[nodiscard]] std::string text() const;                       // 8-4-4-4-12 lower-case hex
    static std::optional<VolumeId> parse(std::string_view text);  // the inverse of text()
    static VolumeId random();
    friend bool operator==(const VolumeId&, const VolumeId&) = default;
};

[[nodiscard]] Epoch random_epoch();

// "16 hex digits:decimal lsn", as tdfsctl prints and reads positions.
[[nodiscard]] std::string to_text(const Position& p);
[[nodiscard]] std::optional<Position> parse_position(std::string_view text);

}  // namespace tdfs

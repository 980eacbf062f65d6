// Random but valid values of the formats, from one seed.
#pragma once

#include <deque>
#include <random>
#include <string>

#include "proto/record.hpp"

namespace tdfs::test {

// Prints its seed; TDFS_SEED=N in the environment repeats a run.
class Random {
  public:
    Random();
    std::uint64_t below(std::uint64_t n) { return std::uniform_int_distribution<std::uint64_t>(0, n - 1)(engine_); }
    bool coin() { return below(2) == 1; }
    // Any number, small and extreme ones more often than chance would have it.
    std::uint64_t number();
    std::uint32_t number32() { return static_cast<std::uint32_t>(number()); }
    std::string bytes(std::size_t at_most);
    // Bytes with repetitions, so that they can be compressed.
    std::string compressible(std::size_t at_most);
    std::string name();
    std::string path();
    std::string xattr_name();
    ObjectId object() { return {number(), number()}; }
    std::uint64_t file_offset() { return number() >> 2; }
    std::uint64_t seed() const { return seed_; }

  private:
    std::uint64_t seed_;
    std::mt19937_64 engine_;
};

// Keeps alive what records only view.
class Texts {
  public:
    std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }

  private:
    std::deque<std::string> kept_;
};

// A record of the given kind; every field random.
Record random_record(RecordKind kind, Random& random, Texts& texts);
Record random_record(Random& random, Texts& texts);

inline std::span<const std::byte> view(const std::string& s) { return as_bytes(s); }
inline Bytes copy(ByteView b) { return {b.begin(), b.end()}; }

// `bytes` with one to four random bits of it flipped.
Bytes damaged(ByteView bytes, Random& random);

}  // namespace tdfs::test

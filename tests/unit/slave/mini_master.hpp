// A master small enough for a test: random changes on a plain directory by plain system calls, and their records.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "proto/bytes.hpp"

namespace tdfs::test {

class MiniMaster {
  public:
    MiniMaster(std::string root, std::uint64_t seed) : root_(std::move(root)), random_(seed) {}

    // Carries out random operations until `n` have succeeded, and appends their records.
    void storm(std::size_t n);
    // Records of the modification times as they are now, for everything there is.
    void settle();
    [[nodiscard]] const std::vector<Bytes>& records() const { return records_; }

  private:
    bool one(std::uint64_t turn);
    bool make();
    bool remove();
    bool move();
    bool write();
    bool attributes();
    bool xattr();
    template <class R>
    void add(R record, const std::string& path);  // with the object that has the path now
    // Paths relative to the root: of everything, of directories (the root too), or of regular files.
    enum class Kind { kAny, kDir, kFile };
    const std::vector<std::string>& paths(Kind kind);
    std::string pick(Kind kind);  // "" where there is none
    std::string new_name();       // in some directory; may exist
    std::uint64_t number(std::uint64_t below) { return random_() % below; }
    [[nodiscard]] std::string full(const std::string& path) const { return root_ + "/" + path; }

    const std::string root_;
    std::mt19937_64 random_;
    std::vector<Bytes> records_;
    std::array<std::vector<std::string>, 3> paths_;  // by kind; walked anew after names have changed
    bool names_changed_ = true;
};

}  // namespace tdfs::test

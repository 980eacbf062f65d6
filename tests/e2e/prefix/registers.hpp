// A numbered sequence of changes to a directory tree, from which an observer can tell how far it sees.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tdfs::e2e {

// Change n (1, 2, 3, ...) acts on register n % kRegisters. Each register is a file or name of one of several kinds, so
// that the sequence mixes writes, renames, links and so on over many files, and what register i shows tells which of its
// changes was the last. Values only; any thread.
class Registers {
  public:
    static constexpr std::uint64_t kKinds = 13;
    static constexpr std::uint64_t kRegisters = kKinds * 3;

    explicit Registers(std::string root) : root_(std::move(root)) {}

    // Makes all registers, as before change 1. False (and errno): failed.
    [[nodiscard]] bool set_up() const;
    // Carries change n out. False (and errno): failed.
    [[nodiscard]] bool change(std::uint64_t n) const;

    struct Reading {
        // Registers of most kinds tell the number of their last change, the others only whether an odd or an even number
        // of changes was made.
        bool is_number = false;
        std::uint64_t value = 0;
        std::string broken;  // not empty: something that no prefix of the history shows
    };
    [[nodiscard]] Reading read(std::uint64_t i) const;

    // True if register i looks so after the changes 1..upto.
    static bool fits(std::uint64_t i, const Reading& reading, std::uint64_t upto);
    // The first state from `upto` on in which it looks so; 0 if there is none.
    static std::uint64_t first_fit(std::uint64_t i, const Reading& reading, std::uint64_t upto);

  private:
    [[nodiscard]] std::string name(const char* letter, std::uint64_t i) const;
    const std::string root_;
};

// Watches a tree that moves forward only, and finds out where a change is seen without one before it.
//
// It remembers how far the tree must be from all it has seen, so readings need not be of one moment: whatever is read
// later must not be older.
class Watcher {
  public:
    explicit Watcher(const std::string& root) : registers_(root) {}

    // Looks at all registers once. "" or what is wrong.
    std::string look();
    // For a tree at rest: all registers must be of one and the same state. "" or what is wrong.
    std::string look_at_rest();
    [[nodiscard]] std::uint64_t seen() const { return seen_; }

  private:
    std::string look(std::uint64_t i);

    Registers registers_;
    std::uint64_t seen_ = 0;
};

}  // namespace tdfs::e2e

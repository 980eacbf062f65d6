// Programs that fsync, and a book of what they may rely on after a power cut.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/faults/recorder/recording.hpp"

namespace tdfs::faults {

struct LedgerOptions {
    unsigned threads = 2;
    bool fsync = true;      // false: only says that it did, to see that losses are found
    unsigned pause_us = 0;  // after each note
};

// Threads that append to files and fsync them, and replace files the safe way (a new one, fsync, rename, fsync of the
// directory). Each time that is done, they note what has to be there from now on. A file's bytes follow from its name
// and their place.
//
// The directory `root` must exist and outlive it. Starts at once; stop() before checking.
class Ledger {
  public:
    Ledger(std::string root, const LedgerOptions& options);
    ~Ledger();
    Ledger(const Ledger&) = delete;
    Ledger& operator=(const Ledger&) = delete;

    void stop();
    [[nodiscard]] std::size_t syncs() const;
    // The first call that failed; empty if none has.
    [[nodiscard]] std::string trouble() const;

    struct Verdict {
        std::size_t syncs = 0;          // that had returned by then
        std::vector<std::string> lost;  // one line for each file that has less than was synced
    };
    // `tree`: where `root` is to be looked for after a cut at `moment`.
    [[nodiscard]] Verdict check(const std::string& tree, MomentNs moment) const;

  private:
    struct Note {
        std::string name;
        std::uint64_t lines;  // appended so far, or the version of a replaced file
        bool replaced;
        MomentNs moment;
    };
    void work(unsigned me);
    bool append(const std::string& name, std::uint64_t from, std::uint64_t lines);
    bool replace(const std::string& directory, const std::string& name, std::uint64_t version);
    bool failed(const std::string& what);
    void note(const std::string& name, std::uint64_t lines, bool replaced);

    const std::string root_;
    const LedgerOptions options_;
    std::atomic<bool> stop_ = false;
    std::vector<std::thread> threads_;
    mutable std::mutex mutex_;
    std::vector<Note> notes_;  // guarded by mutex_
    std::string trouble_;      // guarded by mutex_
};

}  // namespace tdfs::faults

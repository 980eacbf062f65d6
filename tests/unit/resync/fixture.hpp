// A source and a sink over two directories, joined in memory, with a real journal and a hold that can be watched.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/resync/sink.hpp"
#include "common/resync/source.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tree_compare.hpp"

namespace tdfs::test {

inline void write_file(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}

// Writes records as a master does.
class TestJournal {
  public:
    explicit TestJournal(std::uint64_t segment_bytes = 8ull << 20);
    Journal& get() { return *journal_; }
    void add(const Record& r);

  private:
    TempDir dir_;
    std::unique_ptr<Journal> journal_;
};

class TestHold : public WriterHold {
  public:
    explicit TestHold(TestJournal& journal) : journal_(journal) {}
    Lsn hold() override {
        if (before_hold) before_hold();
        held = true;
        ++holds;
        return journal_.get().tail();
    }
    void release() override { held = false; }

    std::function<void()> before_hold;
    std::atomic<bool> held{false};
    std::atomic<int> holds{0};

  private:
    TestJournal& journal_;
};

struct Master {
    TempDir dir;
    TestJournal journal;
    TestHold hold{journal};
    [[nodiscard]] std::string path(const std::string& name) const { return (dir.path() / name).string(); }
};

// What came of a resync.
struct Outcome {
    ResyncSink::Counts counts;
    Progress progress;
    std::string failed;   // of the sink
    std::string refused;  // by the source
    std::size_t messages = 0;
    bool finished = false;
    Lsn end;  // of the source, when finished
};

struct Course {
    bool full = false;
    std::optional<Lsn> since;
    ResyncLimits limits;
    std::function<void()> between;                   // called before each question is given to the source
    std::size_t cut_after = ~std::size_t{0};         // messages; then both are dropped
    std::optional<MessageKind> cut_at;               // the first such answer is lost, and both are dropped
    std::function<void(MessageKind, ByteView)> see;  // every message of either side
    std::function<void(MessageKind)> before_answer;  // before the sink gets it
};

Outcome resync(Master& master, const TempDir& replica, const Course& course = {});

// Empty: equal in all respects.
std::string differences(const Master& master, const TempDir& replica);

std::uint64_t seed_of_run();  // TDFS_SEED, or random; printed

}  // namespace tdfs::test

// What the journal's tests share: a journal in a directory of its own, records as text, a process that is killed.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/journal/journal.hpp"
#include "common/os/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

namespace tdfs::test {

inline constexpr JournalOptions kSmall{.segment_bytes = 1024, .slots = 8};
inline constexpr JournalOptions kTiny{.segment_bytes = 300, .slots = 1};
inline constexpr JournalOptions kPage{.segment_bytes = 4096, .slots = 1};

inline std::unique_ptr<Journal> open_journal(int dir, const JournalOptions& options = kSmall, Lsn first = Lsn(),
                                             bool same_boot = true, const Resolver& resolve = {}) {
    auto journal = Journal::open(dir, options, first, same_boot, resolve);
    if (!journal) FAIL(journal.error().text);
    return std::move(*journal);
}

// Usable in a child process too, where Catch is not: says only whether it went well.
inline bool put(Journal& journal, const std::string& text) {
    auto r = journal.reserve(text.size(), as_bytes(text).first(std::min<std::size_t>(text.size(), 100)));
    if (!r) return false;
    const auto payload = as_bytes(text);
    return journal.commit(std::move(*r), 0, static_cast<std::uint32_t>(text.size()), {&payload, 1}).has_value();
}

struct Entry {
    Lsn lsn;
    FrameKind kind = FrameKind::kVoid;
    std::string text;
};

struct Content {
    std::vector<Entry> entries;
    JournalReader::Status end = JournalReader::Status::kAtTail;

    [[nodiscard]] std::vector<std::string> texts() const {  // of records, without voids
        std::vector<std::string> found;
        for (const auto& e : entries) {
            if (e.kind == FrameKind::kRecord) found.push_back(e.text);
        }
        return found;
    }
};

inline Content read_from(Journal& journal, Lsn at) {
    JournalReader reader(journal, at);
    Content content;
    FrameView frame;
    while ((content.end = reader.next(frame)) == JournalReader::Status::kFrame) {
        content.entries.push_back({frame.header.lsn, frame.header.kind, std::string(as_text(frame.payload))});
    }
    return content;
}
inline Content read_all(Journal& journal) { return read_from(journal, journal.oldest()); }
inline std::vector<std::string> texts(Journal& journal) { return read_all(journal).texts(); }

// The bytes [from, tail) as views and pread give them, as a sender would take them.
inline Bytes bytes_from(Journal& journal, Lsn from) {
    Bytes all;
    for (auto at = from;;) {
        auto view = journal.view(at);
        REQUIRE(view);
        if (view->bytes == 0) return all;
        Bytes part(view->bytes);
        REQUIRE(read_exact(view->fd, part, view->file_offset));
        all.insert(all.end(), part.begin(), part.end());
        at = at + view->bytes;
    }
}

// Runs `work` in a process of its own that is killed at its end, and expects that it came so far.
template <class Work>
void in_killed_process(Work work) {
    const auto child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        if (work()) ::kill(::getpid(), SIGKILL);
        ::_exit(1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    REQUIRE(WTERMSIG(status) == SIGKILL);
}

// A directory in memory where there is /dev/shm, for tests that open journals by the thousand: each open flushes.
inline TempDir make_quick_dir() {
    const char* given = std::getenv("TMPDIR");
    const std::string before = given != nullptr ? given : "";
    const struct Restore {
        const std::string& before;
        ~Restore() { before.empty() ? ::unsetenv("TMPDIR") : ::setenv("TMPDIR", before.c_str(), 1); }
    } restore{before};
    if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 1);
    return TempDir();
}

// A reservation that nobody will commit: for processes that are killed.
inline bool leave_open(Journal& journal, std::size_t payload_bytes, const std::string& intent) {
    auto r = journal.reserve(payload_bytes, as_bytes(intent));
    if (!r) return false;
    static auto* left = new std::vector<Reservation>;  // never destroyed
    left->push_back(std::move(*r));
    return true;
}

inline std::filesystem::path journal_path(const TempDir& dir) { return dir.path() / "journal"; }

inline std::vector<std::filesystem::path> segments(const TempDir& dir) {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(journal_path(dir))) {
        if (entry.path().extension() == ".seg") found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

inline std::string slurp(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

inline void spill(const std::filesystem::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

// A test's own generator. It prints its seed; TDFS_SEED repeats a run.
inline std::mt19937_64 make_random() {
    const char* given = std::getenv("TDFS_SEED");
    const auto seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::cout << "TDFS_SEED=" << seed << std::endl;
    return std::mt19937_64(seed);
}

}  // namespace tdfs::test

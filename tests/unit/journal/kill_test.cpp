// Processes killed at random moments, and what the next one finds.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <map>
#include <thread>

#include "tests/unit/journal/support.hpp"

namespace tdfs::test {

namespace {

constexpr std::size_t kMaxOperations = 200'000;
constexpr JournalOptions kSmallSegments{.segment_bytes = 32 * 1024, .slots = 6};

// How far each operation of the child came. In memory that parent and child share.
struct Progress {
    enum Stage : std::uint32_t { kNothing, kStarted, kReserved, kCommitted };
    std::atomic<std::uint32_t> next{0};
    std::atomic<std::uint32_t> running{0};
    std::array<std::atomic<std::uint32_t>, kMaxOperations> stage;
};

std::string text_of(std::uint32_t operation) {
    return std::to_string(operation) + "/" + std::string(operation * 37 % 600, static_cast<char>('a' + operation % 26));
}
bool is_abandoned(std::uint32_t operation) { return operation % 7 == 3; }

void operate(Journal& journal, Progress& progress) {
    for (;;) {
        const auto operation = progress.next++;
        if (operation >= kMaxOperations) return;
        const auto text = text_of(operation);
        progress.stage[operation] = Progress::kStarted;
        auto r = journal.reserve(text.size() + operation % 50, as_bytes(std::to_string(operation)));
        if (!r) ::_exit(3);
        progress.stage[operation] = Progress::kReserved;
        const auto payload = as_bytes(text);
        const auto bytes = static_cast<std::uint32_t>(text.size());
        const auto done = is_abandoned(operation) ? journal.abandon(std::move(*r))
                                                  : journal.commit(std::move(*r), 0, bytes, {&payload, 1});
        if (!done) ::_exit(4);
        progress.stage[operation] = Progress::kCommitted;
    }
}

[[noreturn]] void be_the_child(int dir, Progress& progress) {
    auto journal = Journal::open(dir, kSmallSegments, Lsn(), true, {});
    if (!journal) ::_exit(2);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            ++progress.running;
            operate(**journal, progress);
        });
    }
    for (auto& thread : threads) thread.join();
    ::_exit(5);  // it should have been killed long before
}

void run_and_kill(int dir, Progress& progress, std::uint32_t after_us) {
    progress.running = 0;
    const auto child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) be_the_child(dir, progress);
    int status = 0;
    while (progress.running == 0 && ::waitpid(child, &status, WNOHANG) == 0) ::usleep(100);
    ::usleep(after_us);
    ::kill(child, SIGKILL);
    if (!WIFEXITED(status) || status == 0) REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
}

}  // namespace

TEST_CASE("killed at any moment, nothing committed is lost and each reservation is resolved once") {
    auto random = make_random();
    const TempDir dir;
    void* memory = ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    auto& progress = *new (memory) Progress;

    std::uint32_t seen = 0;      // operations of earlier rounds
    std::vector<Entry> history;  // what stood in the journal before
    std::size_t resolved_at_all = 0;
    for (int round = 0; round < 30; ++round) {
        run_and_kill(dir.fd(), progress, static_cast<std::uint32_t>(random() % 12'000));
        const auto end = std::min<std::uint32_t>(progress.next, kMaxOperations);

        std::map<std::uint32_t, std::string> offered;  // and what was answered
        const auto journal = open_journal(dir.fd(), kSmallSegments, Lsn(), true, [&](const InFlight& left) {
            const auto operation = static_cast<std::uint32_t>(std::stoul(std::string(as_text(left.intent))));
            CHECK(offered.count(operation) == 0);
            auto& answer = offered[operation];
            if (random() % 3 != 0) answer = "resolved " + std::to_string(operation) + std::string(random() % 100, '!');
            const auto view = as_bytes(answer);
            return Bytes(view.begin(), view.end());
        });
        resolved_at_all += offered.size();
        CHECK(journal->open_report().cut_bytes == 0);
        CHECK(journal->open_report().resolved == offered.size());
        CHECK_FALSE(journal->open_report().lost_committed);
        CHECK(journal->open_report().notes.empty());

        const auto content = read_all(*journal);
        REQUIRE(content.end == JournalReader::Status::kAtTail);
        REQUIRE(content.entries.size() >= history.size());
        std::map<std::string, int> frames;
        for (std::size_t i = 0; i < content.entries.size(); ++i) {
            const auto& entry = content.entries[i];
            if (i < history.size()) {
                if (entry.lsn != history[i].lsn || entry.text != history[i].text) FAIL("history has changed");
            } else if (entry.kind == FrameKind::kRecord) {
                ++frames[entry.text];
            }
        }
        for (auto operation = seen; operation < end; ++operation) {
            const auto stage = progress.stage[operation].load();
            const auto text = text_of(operation);
            const auto answer = offered.find(operation);
            if (answer != offered.end()) {
                REQUIRE(stage != Progress::kCommitted);
                if (!answer->second.empty()) REQUIRE(frames[answer->second]-- == 1);
            } else if (stage >= Progress::kReserved && !is_abandoned(operation)) {
                // Committed, even if the child could not say so any more.
                if (frames[text]-- != 1) FAIL("operation " << operation << " is lost, or stands there twice");
            }
        }
        for (const auto& [text, count] : frames) {
            if (count != 0) FAIL("nobody wrote what stands there: " << text);
        }
        history = content.entries;
        seen = end;
    }
    CHECK(seen > 100);
    CHECK(resolved_at_all > 0);
    ::munmap(memory, sizeof(Progress));
}

TEST_CASE("an appending process killed at any moment leaves whole frames") {
    auto random = make_random();
    const TempDir dir;
    for (int round = 0; round < 15; ++round) {
        const auto child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            auto journal = Journal::open(dir.fd(), kSmallSegments, Lsn(), true, {});
            if (!journal) ::_exit(2);
            for (;;) {
                Bytes frames;
                for (int i = 0; i < 20; ++i) {
                    const auto at = (*journal)->tail() + frames.size();
                    const auto frame = make_frame(FrameKind::kRecord, at, 1,
                                                  as_bytes(text_of(static_cast<std::uint32_t>(at.bytes() % 10'000))));
                    frames.insert(frames.end(), frame.begin(), frame.end());
                }
                if (!(*journal)->append(frames)) ::_exit(3);
            }
        }
        ::usleep(static_cast<useconds_t>(5'000 + random() % 10'000));
        ::kill(child, SIGKILL);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));

        const auto journal = open_journal(dir.fd(), kSmallSegments);
        CHECK_FALSE(journal->open_report().lost_committed);
        const auto content = read_all(*journal);
        CHECK(content.end == JournalReader::Status::kAtTail);
        for (const auto& entry : content.entries) {
            if (entry.text != text_of(static_cast<std::uint32_t>(entry.lsn.bytes() % 10'000)))
                FAIL("not what was appended");
        }
    }
}

}  // namespace tdfs::test

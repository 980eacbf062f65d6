// A real journal in a directory of its own, and a replica made of memory.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/journal/journal.hpp"
#include "common/stream/publisher.hpp"
#include "common/stream/subscriber.hpp"
#include "common/stream/wakeup.hpp"
#include "tests/support/temp_dir.hpp"

namespace tdfs::test {

inline const Epoch kEpoch(0x1111);
inline constexpr Lsn kFirst(1000);

// A number for random tests: TDFS_SEED, or this run's; printed with the test that uses it.
std::uint64_t seed();

class TestJournal {
  public:
    explicit TestJournal(std::uint64_t segment_bytes = 64 * 1024, Lsn first = kFirst);
    Journal& operator*() { return *journal_; }
    Journal* operator->() { return journal_.get(); }
    // Record frames with `payload_bytes` of noise each; every seventh place is abandoned.
    void write(std::size_t frames, std::size_t payload_bytes);
    [[nodiscard]] Bytes bytes(Lsn from, Lsn to);
    [[nodiscard]] Bytes all() { return bytes(journal_->oldest(), journal_->tail()); }
    [[nodiscard]] const std::filesystem::path& path() const { return dir_.path(); }

  private:
    TempDir dir_;
    std::unique_ptr<Journal> journal_;
    std::uint64_t written_ = 0;
};

Publisher::Volume volume();

// Takes frames into memory, says so at once. Thread-safe, as far as the tests look at it from outside.
class FakeReplica : public ReplicaPort {
  public:
    FakeReplica() = default;
    explicit FakeReplica(Lsn at);  // has been streaming up to there

    Result<Welcome, std::string> welcome(const Hello& hello) override;
    Result<void, std::string> resume(const Hello& hello, const Resume& from) override;
    Result<void, std::string> receive(ByteView frames) override;
    [[nodiscard]] bool accepts() const override { return accepts_.load(); }
    std::unique_ptr<ResyncRequester> start_resync(const Hello& hello, const ResyncStart& start) override;
    void heartbeat(Lsn master_tail, std::uint64_t master_time_ns) override;
    [[nodiscard]] Ack ack() const override;
    [[nodiscard]] int ack_event() const override { return event_.fd(); }

    // What has arrived, and from where on.
    [[nodiscard]] Bytes spool() const;
    [[nodiscard]] Lsn spool_begin() const;
    [[nodiscard]] Lsn received() const;
    [[nodiscard]] std::vector<std::string> resync_reasons() const;
    [[nodiscard]] Lsn heard_tail() const;

    void set_state(ReplicaState state, std::string error = {});
    void set_accepts(bool accepts) {
        accepts_.store(accepts);
        event_.wake();
    }
    // Errors to be given from now on; empty: none.
    void refuse_welcome(std::string text);
    void fail_receive(std::string text);
    void fail_resync(std::string text);
    [[nodiscard]] int overlaps() const { return overlaps_.load(); }

  private:
    class Requester;
    struct Busy;

    mutable std::mutex mutex_;
    mutable Wakeup event_;
    std::atomic<bool> accepts_{true};
    std::atomic<int> busy_{0};
    std::atomic<int> overlaps_{0};
    ReplicaState state_ = ReplicaState::kFresh;
    VolumeId volume_;
    Epoch epoch_;
    Lsn begin_;
    Bytes spool_;
    Lsn heard_tail_;
    std::string error_, welcome_error_, receive_error_, resync_error_;
    std::vector<std::string> reasons_;
};

// Answers each List with an empty directory; after `rounds` rounds it is through, at the journal's tail.
class FakeResponder : public ResyncResponder {
  public:
    explicit FakeResponder(Journal& journal, int rounds = 2) : journal_(journal), rounds_(rounds) {}
    Result<void, DecodeError> receive(MessageKind kind, ByteView payload) override;
    bool produce(Bytes& out) override;
    [[nodiscard]] std::optional<Position> finished() const override { return finished_; }
    [[nodiscard]] double hold_ms() const override { return 1.5; }

  private:
    Journal& journal_;
    int rounds_;
    std::vector<MessageKind> asked_;
    std::optional<Position> finished_;
};

Publisher::MakeResponder responders(TestJournal& journal);

// Until it is so; a minute without means that it never will be.
void eventually(const std::function<bool()>& so);

}  // namespace tdfs::test

// A publisher session and a subscriber session joined back to back, with a clock that the test moves.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "common/stream/publisher_session.hpp"
#include "common/stream/subscriber_session.hpp"
#include "tests/unit/stream/fixture.hpp"

namespace tdfs::test {

// The link from master to slave as the test wants it to be: may change the bytes, and cuts the link by returning less
// than it was given. `offset` counts from the beginning of the connection.
using Tamper = std::function<std::size_t(std::uint64_t offset, Bytes& bytes)>;

class MemoryLink {
  public:
    MemoryLink(TestJournal& journal, FakeReplica& replica, Tamper tamper = {},
               Publisher::Volume volume_of_master = volume());

    // Turns until nothing moves any more or a session has ended. False: the link is cut, or a session ended.
    bool settle();
    void advance(std::uint64_t ns) { now_.monotonic_ns += ns; }  // then settle() or one side's tick
    [[nodiscard]] bool turn();                                   // false when nothing moved

    // At most so many bytes of the journal in one turn.
    std::uint64_t journal_bytes_per_turn = ~0ull;
    // The slave does not read: nothing gets to it.
    bool slave_deaf = false;
    bool master_deaf = false;

    [[nodiscard]] bool cut() const { return cut_; }
    [[nodiscard]] PublisherSession& master() { return master_; }
    [[nodiscard]] SubscriberSession& slave() { return *slave_; }
    [[nodiscard]] bool has_slave() const { return slave_.has_value(); }
    [[nodiscard]] std::uint64_t bytes_to_slave() const { return to_slave_; }
    [[nodiscard]] const std::string& hello_error() const { return hello_error_; }
    [[nodiscard]] Instant now() const { return now_; }
    // Bytes into the slave, as if from the master.
    void deliver(ByteView bytes);
    // Bytes into the master, as if from the slave.
    void answer(ByteView bytes);

  private:
    void send(Bytes bytes);
    void send_journal(const PublisherSession::JournalWish& wish);

    TestJournal& journal_;
    FakeReplica& replica_;
    const Tamper tamper_;
    const Publisher::Volume volume_;
    const std::string name_ = "master in memory";
    const Publisher::MakeResponder make_responder_;
    Instant now_{.monotonic_ns = 1'000 * kSecondNs, .wall_ns = 1'700'000'000 * kSecondNs};
    PublisherSession master_;
    FrameBuffer door_{4096, kMaxHelloBytes};
    std::string hello_error_;
    std::optional<SubscriberSession> slave_;
    SegmentView view_;
    std::uint64_t view_done_ = 0;
    std::uint64_t to_slave_ = 0;
    bool cut_ = false;
};

// The spool is exactly the journal from where it begins.
void require_exact(TestJournal& journal, const FakeReplica& replica);

}  // namespace tdfs::test

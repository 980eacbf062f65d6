// One connection of the subscriber, without I/O: bytes and time in, bytes out, frames and messages to the replica.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/stream/frame_buffer.hpp"
#include "common/stream/outbox.hpp"
#include "common/stream/session_end.hpp"
#include "common/stream/subscriber.hpp"
#include "common/stream/timing.hpp"

namespace tdfs {

inline constexpr std::size_t kMaxHelloBytes = 128 * 1024;  // of the whole frame; kMaxEpochs take 64 KiB

// The first frame of a connection, as the listener reads it: a Hello that is bounded, not compressed and alone.
// Incomplete input gives nothing yet.
[[nodiscard]] Result<std::optional<Hello>, DecodeError> read_hello(FrameBuffer& inbox);

// Begins where the Hello has been read. Stages:
//   welcomed    Welcome is out; Resume or ResyncStart comes
//   resync      a ResyncRequester asks; its answers come in; until Resume
//   stream      journal frames, as many at a time as are here, each with exactly the lsn that is expected
//
// Invariant: what goes to the replica is verified and contiguous; after anything else nothing goes to it any more.
// A turn of the driver: filled() when bytes came, nothing_came() when none did, tick(), send out(). Used by one thread; `port`
// outlives it.
class SubscriberSession {
  public:
    // Asks the replica: out() is then a Welcome, or a Refuse and ended() is set.
    SubscriberSession(ReplicaPort& port, Hello hello, Instant now);
    ~SubscriberSession();
    SubscriberSession(const SubscriberSession&) = delete;
    SubscriberSession& operator=(const SubscriberSession&) = delete;

    [[nodiscard]] std::span<std::byte> space() { return inbox_.space(); }
    void filled(std::size_t bytes, Instant now);
    void tick(Instant now);
    // The driver has looked, and there was nothing to read: that alone is silence. Time in which nobody looked is not.
    void nothing_came(Instant now);
    [[nodiscard]] std::uint64_t next_tick_ns() const;
    void acknowledge() { ack_due_ = true; }  // there is news; said with the next tick

    [[nodiscard]] bool wants_input() const { return !held_back_; }
    [[nodiscard]] ByteView out() const { return outbox_.rest(); }
    void sent(std::size_t bytes) { outbox_.sent(bytes); }
    // Whether a Heartbeat may be sent now by somebody else.
    [[nodiscard]] bool between_frames() const { return welcomed_ && !ended_ && outbox_.empty(); }
    [[nodiscard]] const std::optional<SessionEnd>& ended() const { return ended_; }
    [[nodiscard]] const Hello& hello() const { return hello_; }
    [[nodiscard]] bool welcomed() const { return welcomed_; }

  private:
    enum class Stage { kWelcomed, kResync, kStream };

    void digest(Instant now);
    bool digest_frames(const FrameView& first, Instant now);
    void receive(const FrameView& frame, Instant now);
    void receive_resume(ByteView payload, Instant now);
    void receive_resync_start(ByteView payload, Instant now);
    void receive_answer(MessageKind kind, ByteView payload, Instant now);
    void receive_inspection(MessageKind kind, ByteView payload);
    void end_inspections();
    void lost(std::string text);
    void refuse(std::string text, Instant now);

    ReplicaPort& port_;
    const Hello hello_;
    Stage stage_ = Stage::kWelcomed;
    FrameBuffer inbox_;
    Outbox outbox_;
    Bytes scratch_;
    std::unique_ptr<ResyncRequester> requester_;
    Lsn expected_;  // of the next journal frame
    bool welcomed_ = false;
    bool held_back_ = false;  // the replica does not take the frames that are here
    bool ack_due_ = false;
    std::uint64_t last_tick_ns_;
    std::uint64_t last_heard_ns_;
    std::uint64_t last_ack_ns_;
    std::optional<SessionEnd> ended_;
};

}  // namespace tdfs

// One connection of the publisher, without I/O: bytes and time in; bytes, or stretches of the journal to send, out.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/stream/frame_buffer.hpp"
#include "common/stream/outbox.hpp"
#include "common/stream/publisher.hpp"
#include "common/stream/session_end.hpp"
#include "common/stream/timing.hpp"

namespace tdfs {

inline constexpr std::size_t kMaxSlaveMessageBytes = 256 * 1024;  // the largest: Range with its hashes and a path

// What a session knows of its slave.
struct SessionReport {
    PeerStatus::State state = PeerStatus::State::kConnecting;
    std::string name;
    std::string detail;
    Lsn sent, received, durable, applied;
    bool position_known = false;  // the three positions lie on our history
    bool progressed = false;      // the slave has acknowledged something new on this connection
    std::uint64_t resyncs = 0;    // begun on this connection
    Progress progress;
    double hold_ms = 0;
    std::uint64_t acks = 0;
    std::uint64_t soft_errors = 0, hard_errors = 0;
    std::uint64_t durable_acks = 0;  // that moved `durable`
};

// Stages, each of which goes only to a later one, but for resync and stream, which may alternate:
//   handshake   Hello is out, Welcome comes in: refuse, resync or stream
//   resync      a ResyncResponder answers; then Resume
//   stream      the journal from at_ on; Heartbeats in between; Acks come in
//
// Invariant: session messages go out at frame boundaries of the stream only. The driver sends the journal in ranges
// that end at such a boundary (the tail as of then, or a segment's end), and out() is empty while a range is under
// way.
//
// A turn of the driver: filled() when bytes came, nothing_came() when none did, tick(), send out(), and when that is empty send
// what journal_wish() names. Used by one thread. journal, volume, name and make_responder outlive it.
class PublisherSession {
  public:
    PublisherSession(Journal& journal, const Publisher::Volume& volume, const std::string& name,
                     const Publisher::MakeResponder& make_responder, Instant now,
                     Publisher::MakeInspector make_inspector = {});
    ~PublisherSession();
    PublisherSession(const PublisherSession&) = delete;
    PublisherSession& operator=(const PublisherSession&) = delete;

    // While streaming: tells the slave to begin; the job hears what it finds.
    void inspect(std::shared_ptr<InspectJob> job);

    [[nodiscard]] std::span<std::byte> space() { return inbox_.space(); }
    void filled(std::size_t bytes, Instant now);
    void tick(Instant now);
    // The driver has looked, and there was nothing to read: that alone is silence. Time in which nobody looked is not.
    void nothing_came(Instant now);
    [[nodiscard]] std::uint64_t next_tick_ns() const;  // monotonic; tick() is due then at the latest

    [[nodiscard]] bool wants_input() const;  // false while answers to earlier questions have not left
    [[nodiscard]] ByteView out() const { return outbox_.rest(); }
    void sent(std::size_t bytes) { outbox_.sent(bytes); }
    // Whether a Heartbeat may be sent now by somebody else.
    [[nodiscard]] bool between_frames() const {
        return stage_ != Stage::kHandshake && !ended_ && outbox_.empty() && at_boundary();
    }

    // The stretch of the journal to go out next. range_bytes 0: a new range; the driver looks how far it goes and says
    // so with begin_range(), or journal_gone() where the journal does not hold it any more.
    struct JournalWish {
        Lsn from;
        std::uint64_t range_bytes = 0;
    };
    [[nodiscard]] std::optional<JournalWish> journal_wish() const;
    void begin_range(std::uint64_t bytes);
    void journal_sent(std::uint64_t bytes);
    void journal_gone();

    [[nodiscard]] bool streaming() const { return stage_ == Stage::kStream; }
    [[nodiscard]] const std::optional<SessionEnd>& ended() const { return ended_; }
    [[nodiscard]] const SessionReport& report() const { return report_; }

  private:
    enum class Stage { kHandshake, kResync, kStream };

    void receive(const FrameView& frame, Instant now);
    void receive_welcome(ByteView payload, Instant now);
    void receive_ack(ByteView payload);
    void receive_question(MessageKind kind, ByteView payload);
    void start_stream(Position from, Instant now);
    void start_resync(Instant now);
    void answer(Instant now);
    void receive_inspection(MessageKind kind, ByteView payload);
    void serve_inspections(Instant now);
    void end_inspections(const std::string& why);
    [[nodiscard]] InspectJob* job(std::uint32_t id);
    [[nodiscard]] bool at_boundary() const { return at_ == range_end_; }
    void end(bool refused, std::string text);

    Journal& journal_;
    const Publisher::Volume& volume_;
    const Publisher::MakeResponder& make_responder_;

    const Publisher::MakeInspector make_inspector_;

    Stage stage_ = Stage::kHandshake;
    FrameBuffer inbox_;
    Outbox outbox_;
    Bytes scratch_;
    std::unique_ptr<ResyncResponder> responder_;
    std::unique_ptr<InspectResponder> inspector_;    // since the first question in mid-stream
    std::optional<Lsn> inspected_at_;                // where the journal stood when it answered last
    std::vector<std::shared_ptr<InspectJob>> jobs_;  // under way on the slave
    std::vector<std::shared_ptr<InspectJob>> orders_;
    ResyncScope resync_;  // with a reason: it is to be started
    Lsn at_;              // the next byte of the journal to send
    Lsn range_end_;
    std::uint64_t last_tick_ns_;
    std::uint64_t last_heard_ns_;
    std::uint64_t last_said_ns_;
    std::optional<SessionEnd> ended_;
    SessionReport report_;
};

}  // namespace tdfs

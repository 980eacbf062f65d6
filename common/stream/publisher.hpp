// The publisher: serves a journal to any number of slaves, each from its own position.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/journal/journal.hpp"
#include "common/stream/inspect_job.hpp"
#include "proto/resync.hpp"
#include "proto/session.hpp"

namespace tdfs {

// The master's side of a resync as the publisher sees it: questions in, answers out, no I/O on the network.
// Used by one session thread only.
class ResyncResponder {
  public:
    virtual ~ResyncResponder() = default;
    // A message of kinds kList..kRoundDone. An error ends the session (foreign bytes).
    virtual Result<void, DecodeError> receive(MessageKind kind, ByteView payload) = 0;
    // Appends answers (whole frames) to `out`, about 1 MiB a call at most. False: nothing to say until more is
    // received.
    virtual bool produce(Bytes& out) = 0;
    // Set once the sink has everything: streaming starts there. Writers are not held any more.
    [[nodiscard]] virtual std::optional<Position> finished() const = 0;
    // Whether the sink is to compare all contents; asked once, told with ResyncStart.
    [[nodiscard]] virtual bool full() const { return false; }
    // How long writers were held; asked when finished.
    [[nodiscard]] virtual double hold_ms() const { return 0; }
};

// The master's side of inspections in mid-stream: questions in, answers out. Used by one session thread only.
class InspectResponder {
  public:
    virtual ~InspectResponder() = default;
    virtual Result<void, DecodeError> receive(MessageKind kind, ByteView payload) = 0;
    // Appends answers (whole frames), some 256 KiB a call. Called at a frame boundary of the stream, so that what it
    // tells of a moment of the journal arrives before what was recorded later.
    virtual bool produce(Bytes& out) = 0;
};

struct PublisherOptions {
    struct Target {
        std::string host;
        std::string port;
        [[nodiscard]] std::string text() const;  // host:port, [host]:port for IPv6 literals
    };
    std::vector<Target> targets;  // no two alike
    bool nodelay = true;
    bool gather = false;  // changes that follow one another closely travel together, later by kGatherNs at most
    std::string name;     // of this machine and directory, told to the slaves
    // Called when a slave's positions moved; by session threads, which hold no lock then. May be empty.
    std::function<void()> moved;
};

// What status shows of one slave. Times are monotonic ns, 0: never.
struct PeerStatus {
    std::string target;
    std::string name;  // what the slave calls itself
    enum class State { kConnecting, kRefused, kStreaming, kResyncing, kStalled, kPaused } state = State::kConnecting;
    std::string detail;  // last error, refusal, reason of the resync
    Lsn sent, received, durable, applied;
    bool position_known = false;           // these lie on our history, and it has not been lost since
    std::uint64_t lag_bytes = 0;           // tail - applied
    double lag_seconds = 0;                // age of the oldest change that is not applied yet; 0 when none
    std::uint64_t lag_records = 0;         // frames between applied and tail (see DESIGN.md of the folder for how)
    std::uint64_t bytes_sent = 0;          // since start, this target, all connections
    double send_rate = 0, apply_rate = 0;  // bytes/s over the last seconds
    std::uint64_t connects = 0;
    std::uint64_t resyncs = 0;
    Progress progress;                               // while resyncing
    double hold_ms = 0;                              // how long writers were held at the end of the last resync
    std::uint64_t soft_errors = 0, hard_errors = 0;  // as the slave counts them (proto/session.hpp)
    std::uint64_t durable_acks = 0;  // acknowledgements that moved `durable`: round trips to the slave's disk
};

// One session thread per target: connects, shakes hands, streams or resyncs, reconnects for ever with backoff
// (100 ms up to 5 s). A slow or dead slave costs nobody else anything.
//
// Thread-safe. Owned by main; `journal` and whatever make_responder captures outlive it.
class Publisher {
  public:
    struct Volume {
        VolumeId id;
        std::vector<EpochStart> history;
    };
    // A new resync for one slave. Called by session threads; never null.
    using MakeResponder = std::function<std::unique_ptr<ResyncResponder>(const ResyncScope& scope)>;

    // For one session; called by session threads. None: questions in mid-stream end the session.
    using MakeInspector = std::function<std::unique_ptr<InspectResponder>()>;

    Publisher(Journal& journal, Volume volume, PublisherOptions options, MakeResponder make_responder,
              MakeInspector make_inspector = {});
    ~Publisher();  // stop()

    void start();
    void stop();  // closes the links; returns when all threads have ended
    [[nodiscard]] std::vector<PeerStatus> status() const;

    enum class Level { kReceived, kDurable, kApplied };
    // Waits until every target in `targets` (all if empty) is known to be at `upto` on that level; false on the
    // deadline, on stop(), and for names that are no targets. A slave that is resyncing is nowhere; one that was there
    // and has lost its link since is still there.
    bool wait(const std::vector<std::string>& targets, Lsn upto, Level level, std::chrono::milliseconds timeout);
    // The same for any `count` of the targets.
    bool wait_for_count(std::size_t count, Lsn upto, Level level, std::chrono::milliseconds timeout);
    // Has a slave inspect itself. The job ends with an error where the slave is not streaming, or ceases to be.
    std::shared_ptr<InspectJob> inspect(const std::string& target, InspectStart order);
    // How far at least `count` of the targets are known to be, where a level includes those before it: what is applied
    // counts only as far as it is durable, too. Lsn() where fewer are known to be anywhere.
    [[nodiscard]] Lsn confirmed_by(std::size_t count, Level level) const;
    [[nodiscard]] bool has_target(const std::string& text) const;  // as PeerStatus::target
    // The lowest applied (and durable) lsn over all targets, for retention. nullopt: not all of them are streaming or
    // stalled (or there are none), so that nobody knows what they will ask for.
    [[nodiscard]] std::optional<Lsn> slowest() const;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace tdfs

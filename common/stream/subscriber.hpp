// The subscriber: listens for the master of the volume and hands what comes to the replica.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/stream/tcp.hpp"
#include "proto/errno.hpp"
#include "proto/resync.hpp"
#include "proto/session.hpp"

namespace tdfs {

// The slave's side of a resync as the subscriber sees it: answers in, questions out. Used by the session thread only.
// Destroyed when the link is lost, and just before ReplicaPort::resume when the resync is through.
class ResyncRequester {
  public:
    virtual ~ResyncRequester() = default;
    virtual Result<void, DecodeError> receive(MessageKind kind, ByteView payload) = 0;
    // Appends questions (whole frames) to `out`; false: nothing to ask until answers come.
    virtual bool produce(Bytes& out) = 0;
    // Not empty: a local error (disk full, ...) that ends this try; the text goes to the master and to status.
    [[nodiscard]] virtual std::string failed() const = 0;
};

// The slave's side of inspections in mid-stream. Used by the session thread only.
class InspectPort {
  public:
    virtual ~InspectPort() = default;
    // Orders and answers of the master.
    virtual Result<void, DecodeError> receive(MessageKind kind, ByteView payload) = 0;
    // Appends questions and findings (whole frames), some hundred KiB a call.
    virtual void produce(Bytes& out) = 0;
    // Whether there is work, so that produce() is to be called every few milliseconds.
    [[nodiscard]] virtual bool busy() const = 0;
    // The stream has ended: what is under way ends, too.
    virtual void lost() = 0;
};

inline constexpr std::size_t kReceiveBufferBytes = 1024 * 1024;
// More frames than this are never handed over at once.
inline constexpr std::size_t kMostReceivedBytes = kReceiveBufferBytes + kMaxFrameBytes;

// What the subscriber needs from the replica behind it. Called by the session thread unless said otherwise; calls for
// one session never overlap with those for another.
class ReplicaPort {
  public:
    virtual ~ReplicaPort() = default;
    // The answer to `hello`: positions and state; or words that refuse it (another volume, ...).
    virtual Result<Welcome, std::string> welcome(const Hello& hello) = 0;
    // The stream starts (again) at `from`, which is the spool's end, or where a resync ended. Error text: refuse.
    virtual Result<void, std::string> resume(const Hello& hello, const Resume& from) = 0;
    // Complete, verified journal frames, contiguous from the spool's end. May block for 2 s at most (acknowledgements
    // stop meanwhile, and so does stop()); a spool that may be full for longer says so with accepts(). An error ends
    // the session; the text goes to the master.
    virtual Result<void, std::string> receive(ByteView frames) = 0;
    // Whether receive() would take frames now. While false nothing is read from the link, acknowledgements go on, and
    // this is asked again every 100 ms and on ack_event().
    [[nodiscard]] virtual bool accepts() const { return true; }
    virtual std::unique_ptr<ResyncRequester> start_resync(const Hello& hello, const ResyncStart& start) = 0;
    // Null: this replica is not inspected.
    [[nodiscard]] virtual InspectPort* inspections() { return nullptr; }
    // At least once a second while the link stands.
    virtual void heartbeat(Lsn master_tail, std::uint64_t master_time_ns) = 0;
    // What to acknowledge now. Any thread.
    [[nodiscard]] virtual Ack ack() const = 0;
    // A descriptor that becomes readable when ack() has changed in a way worth telling at once (poll); drained by the
    // subscriber.
    [[nodiscard]] virtual int ack_event() const = 0;
};

struct SubscriberOptions {
    std::string address = "127.0.0.1";  // loopback until there is encryption
    std::string port = "4710";
    bool nodelay = true;
    std::size_t max_pending = 64;  // connections that have not said Hello yet; one more closes the oldest
    std::uint32_t handshake_timeout_ms = 5000;
};

// One listening thread, one thread for the session of the master. Garbage, half handshakes and idle connections cost a
// bounded number of descriptors and are logged once each at most. A new connection of the same volume's master
// replaces an old one (which may be half open).
//
// Owned by main; `port` outlives it.
class Subscriber {
  public:
    // Binds at once; the error text names address and port and what to do.
    static Result<std::unique_ptr<Subscriber>, std::string> listen(const SubscriberOptions& options, ReplicaPort& port);
    // On a port that tcp_listen() has bound: for who must know that it is free before there is a replica.
    static std::unique_ptr<Subscriber> on(TcpListener listener, const SubscriberOptions& options, ReplicaPort& port);
    ~Subscriber();
    void start();
    void stop();
    struct Status {
        bool connected = false;
        std::string master;  // its name
        std::string peer;    // address
        std::uint64_t connects = 0;
        std::uint64_t refused = 0;
        std::uint64_t bytes_received = 0;
        std::string last_error;
    };
    [[nodiscard]] Status status() const;
    [[nodiscard]] std::uint16_t bound_port() const;  // the real one where port 0 was asked for

  private:
    class Impl;
    explicit Subscriber(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace tdfs

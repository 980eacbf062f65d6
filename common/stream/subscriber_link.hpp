// The thread that serves the master's connection.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/stream/arrival.hpp"
#include "common/stream/log_throttle.hpp"
#include "common/stream/pulse.hpp"
#include "common/stream/subscriber.hpp"
#include "common/stream/subscriber_session.hpp"
#include "common/stream/wakeup.hpp"

namespace tdfs {

// One thread, one session at a time: it alone calls the replica, so the calls of two sessions cannot overlap. A new
// arrival waits in a place for one while the old session ends. A stranger cannot end a session: its volume must be the
// one that is being served.
//
// offer() and status() from any thread. Owned by the subscriber; `port` outlives it.
class SubscriberLink {
  public:
    explicit SubscriberLink(ReplicaPort& port);
    ~SubscriberLink();  // stop()
    SubscriberLink(const SubscriberLink&) = delete;
    SubscriberLink& operator=(const SubscriberLink&) = delete;

    void start();
    void stop();
    // Takes the arrival, or leaves it and says why.
    std::optional<std::string> offer(Arrival& arrival);
    [[nodiscard]] Subscriber::Status status() const;

  private:
    void run();
    void serve(Arrival arrival);
    SessionEnd run_session(int fd, SubscriberSession& session);
    bool exchange(int fd, Pulse& pulse, SubscriberSession& session);
    bool send(int fd, Pulse& pulse, SubscriberSession& session, bool& blocked);
    bool receive(int fd, SubscriberSession& session);
    void note_end(const Arrival& arrival, const SubscriberSession& session, const SessionEnd& end);
    [[nodiscard]] const char* called_away() const;  // why the session must end now; null: it goes on

    ReplicaPort& port_;
    std::atomic<bool> stopping_{false};
    Wakeup wakeup_;
    std::thread thread_;

    mutable std::mutex mutex_;
    // Guarded by mutex_.
    std::optional<Arrival> waiting_;
    std::optional<VolumeId> serving_;
    Subscriber::Status status_;

    // The thread's own.
    LogThrottle throttle_;
    std::string lost_;  // what happened to the socket
};

}  // namespace tdfs

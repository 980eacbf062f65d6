// The door of the subscriber: whoever knocks, only a valid Hello gets further.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/stream/arrival.hpp"
#include "common/stream/frame_buffer.hpp"
#include "common/stream/log_throttle.hpp"
#include "common/stream/subscriber.hpp"
#include "common/stream/tcp.hpp"
#include "common/stream/wakeup.hpp"

namespace tdfs {

// One thread polls the listening socket and all connections that have not said Hello. They cost at most max_pending
// descriptors and 4 KiB each until they send more (kMaxHelloBytes at most); what is refused is logged once per
// address, kind and minute.
//
// Owned by the subscriber. `offer` is called from the thread: it takes the arrival, or leaves it and says why not.
class Listener {
  public:
    using Offer = std::function<std::optional<std::string>(Arrival& arrival)>;

    Listener(TcpListener listener, const SubscriberOptions& options, Offer offer);
    ~Listener();  // stop()
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    void start();
    void stop();
    [[nodiscard]] std::uint16_t port() const { return listener_.port; }
    [[nodiscard]] std::uint64_t refused() const { return refused_.load(); }
    [[nodiscard]] std::string last_error() const;

  private:
    struct Pending {
        TcpPeer peer;
        FrameBuffer inbox;
        std::uint64_t deadline_ns;
    };

    void run();
    void accept_some();
    // False: this one is done with, let in or refused.
    bool hear(Pending& pending);
    void refuse(const TcpPeer& peer, const char* kind, const std::string& text);
    void complain(const std::string& address, const char* kind, const std::string& text);

    TcpListener listener_;
    const SubscriberOptions options_;
    const Offer offer_;
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint64_t> refused_{0};
    mutable std::mutex mutex_;
    std::string last_error_;  // guarded by mutex_
    Wakeup stop_;
    std::thread thread_;

    // The thread's own.
    std::vector<Pending> pending_;  // oldest first
    LogThrottle throttle_;
    std::uint64_t no_accept_before_ns_ = 0;  // out of descriptors: try again later
};

}  // namespace tdfs

// The link to one slave: connects, runs a session, and comes back for ever.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/stream/peer_board.hpp"
#include "common/stream/publisher_session.hpp"
#include "common/stream/pulse.hpp"
#include "common/stream/wakeup.hpp"

namespace tdfs {

// What all links of a publisher share; owned by the publisher.
struct PublisherShared {
    Journal& journal;
    Publisher::Volume volume;
    PublisherOptions options;
    Publisher::MakeResponder make_responder;
    Publisher::MakeInspector make_inspector;
    PeerBoard& board;
};

// One thread: connect -> session (publisher_session.hpp) -> wait (100 ms, doubled up to 5 s while nothing is achieved)
// -> connect. In a session: poll over socket, journal and stop; messages by send, the journal by sendfile from its
// segments. Nothing is queued: a slow slave costs a partial message at most.
//
// Owned by the publisher; `shared` outlives it.
class PublisherLink {
  public:
    PublisherLink(PublisherShared& shared, std::size_t index);
    ~PublisherLink();
    PublisherLink(const PublisherLink&) = delete;
    PublisherLink& operator=(const PublisherLink&) = delete;

    void start();
    void ask_to_stop();
    void join();
    // Any thread. The job ends with an error where no session streams.
    void post(std::shared_ptr<InspectJob> job);

  private:
    enum class Sent { kNothing, kSome, kBlocked, kLost };

    void run();
    // One connection from TCP to its end; false when nothing was achieved, so that the next try waits longer.
    bool visit();
    SessionEnd run_session(int fd, PublisherSession& session);
    Sent transmit(int fd, Pulse& pulse, PublisherSession& session);
    Sent transmit_journal(int fd, Pulse& pulse, PublisherSession& session, const PublisherSession::JournalWish& wish);
    SysResult<SegmentView> next_view(Lsn from);
    bool receive(int fd, PublisherSession& session);
    // Sleeps until something is to be done; true when the socket has something to say.
    bool sleep(int fd, PublisherSession& session, Sent sent);
    void note(const PublisherSession& session);
    void note_end(const SessionEnd& end);
    void take_posted(PublisherSession* session);  // null: there is none
    void log_state(bool trouble, const std::string& text);
    void pause(std::uint64_t ms);
    [[nodiscard]] bool stopping() const { return stopping_.load(); }

    PublisherShared& shared_;
    const std::size_t index_;
    const PublisherOptions::Target& target_;

    std::atomic<bool> stopping_{false};
    Wakeup stop_;
    JournalListener listener_;
    std::thread thread_;

    std::mutex posted_mutex_;
    std::vector<std::shared_ptr<InspectJob>> posted_;  // guarded by posted_mutex_

    // The thread's own.
    SegmentView view_;  // of the range under way; keeps its segment open
    std::uint64_t view_done_ = 0;
    std::uint64_t range_begun_ns_ = 0;  // the last one
    PeerStatus status_;
    bool position_known_ = false;
    bool welcomed_ = false;             // on this connection
    std::uint64_t resyncs_before_ = 0;  // on earlier connections
    std::uint64_t durable_acks_before_ = 0;
    std::string lost_;    // what happened to the socket
    std::string logged_;  // the line that stands last in the log for this target
};

}  // namespace tdfs

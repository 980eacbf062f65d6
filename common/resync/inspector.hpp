// One inspection on the replica: walks, looks exactly at what may differ, heals, and says what it found.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/resync/inspect_walk.hpp"
#include "proto/inspect.hpp"

namespace tdfs {

class Salvage;

// Where the replay can be met at a known position. Thread-safe.
class ReplayGate {
  public:
    virtual ~ReplayGate() = default;
    struct Meeting {
        std::function<bool()> look;    // true: the tree was changed
        std::function<void()> missed;  // the replay is beyond that place already
    };
    // Calls `look` once, on the thread that replays, when everything before `at` is applied and nothing after it; or `missed`,
    // there as well. Neither (and destroyed) where the replay ends before.
    virtual void meet(Lsn at, Meeting meeting) = 0;
    // Names that were given to other objects (renames, links) since watch() or the last take_moved() of the same `who`;
    // `all`: more than can be remembered.
    struct Moved {
        std::vector<std::string> names;
        bool all = false;
    };
    virtual void watch(const void* who) = 0;
    virtual Moved take_moved(const void* who) = 0;
    virtual void unwatch(const void* who) = 0;
    // Keeps what a repair is about to overwrite; none: nothing is kept.
    [[nodiscard]] virtual Salvage* salvage() { return nullptr; }
    // A difference there may be the daemon's own: records about this path were left out.
    [[nodiscard]] virtual bool is_left_out(const std::string&) const { return false; }
    // What is in the tree now is on its disk when this returns.
    virtual Result<void, std::string> make_durable() = 0;
    // Not empty: the replay does not go on, and why.
    [[nodiscard]] virtual std::string stuck() const = 0;
};

// Invariant: a finding is something that was different at one lsn, on a replica that stood at exactly that lsn; so
// neither writers nor a slave that lags behind cause false alarms. What was renamed from where the walk had not been to
// where it had been is compared afterwards.
//
// A state machine without network I/O; one session thread, which reads the replica. Changes are made through the gate
// only. `root` and `gate` outlive it.
class Inspector {
  public:
    Inspector(int root, InspectStart order, ReplayGate& gate);
    ~Inspector();  // looks that have not taken place will not
    Inspector(const Inspector&) = delete;
    Inspector& operator=(const Inspector&) = delete;

    // Appends one question, within the rate; false: none for now.
    bool ask(Bytes& out, std::uint64_t now_ns);
    // The answer to the question in front. True: it is answered completely.
    Result<bool, DecodeError> receive(MessageKind kind, ByteView payload);
    // Takes results of looks; what happened goes to the values below. Call it now and then.
    void turn(std::uint64_t now_ns);

    [[nodiscard]] const InspectStart& order() const { return order_; }
    [[nodiscard]] bool done() const { return done_; }
    [[nodiscard]] const std::string& error() const { return error_; }
    [[nodiscard]] InspectCounts counts() const;
    [[nodiscard]] std::uint32_t share() const;
    [[nodiscard]] const std::string& at() const { return walk_.at(); }
    std::vector<Finding> take_findings();

  private:
    struct Looking {
        std::vector<Suspect> suspects;
        std::shared_ptr<ExactStep> step;  // none: the answer has not come
    };
    bool ask_look(Bytes& out);
    Result<bool, DecodeError> on(Looked m);
    void retry(Looking& look, const std::string& why);
    void look_again(Looking look);
    void take(const Suspect& s, const ExactItem& item, const ExactResult& r);
    void found(Finding f);
    void after_walk();

    const int root_;
    const InspectStart order_;
    ReplayGate& gate_;
    InspectWalk walk_;
    std::deque<InspectWalk::Asked> asked_;  // kNothing: a look
    std::deque<Looking> looks_;             // in the order of their lsns
    std::deque<Suspect> singles_;           // to be looked at one by one: together it did not go
    std::size_t look_items_;                // of one look
    std::vector<Finding> findings_;
    InspectCounts counts_;
    struct Known {
        bool healed;          // all of it
        std::uint32_t kinds;  // told
    };
    std::unordered_map<std::size_t, Known> known_;  // by hashes of paths that differ
    std::string last_parent_ = "/";                 // no path: a directory that was looked at again after a name in it
    std::uint32_t rounds_ = 0;                      // over what was moved
    bool links_walked_ = false;
    bool whole_ = false;
    bool done_ = false;
    std::string error_;
    double tokens_ = 0;
    std::uint64_t spent_ = 0;
    std::uint64_t refilled_ns_ = 0;
    std::uint64_t stuck_since_ns_ = 0;
};

}  // namespace tdfs

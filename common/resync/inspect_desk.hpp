// All inspections of one replica, whoever ordered them, over one link to the master.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/resync/inspector.hpp"

namespace tdfs {

// Who ordered an inspection on this machine, and hears of it. Called by the session thread.
class InspectListener {
  public:
    virtual ~InspectListener() = default;
    virtual void found(std::vector<Finding> findings) = 0;
    virtual void progress(InspectProgress progress) = 0;
    virtual void done(InspectDone done) = 0;  // the last call
    [[nodiscard]] virtual bool cancelled() const = 0;
};

// Runs several inspections side by side; their questions go out in one line, and the answers come back in it.
//
// submit() from any thread, everything else from the session's. Owned by the replica; `root` and `gate` outlive it.
class InspectDesk {
  public:
    static constexpr std::size_t kMaxJobs = 8;
    InspectDesk(int root, ReplayGate& gate) : root_(root), gate_(gate) {}

    // Begins once the stream stands; with the order's id the master has nothing to do.
    void submit(InspectStart order, std::shared_ptr<InspectListener> listener);

    // InspectStart and InspectStop of the master, and answers.
    Result<void, DecodeError> receive(MessageKind kind, ByteView payload);
    void produce(Bytes& out);
    [[nodiscard]] bool busy() const { return busy_; }
    void lost();
    // Differences found since the daemon started, by whichever inspection. Any thread.
    [[nodiscard]] std::uint64_t differences() const { return differences_; }

  private:
    struct Job {
        std::unique_ptr<Inspector> inspector;
        std::shared_ptr<InspectListener> listener;  // none: the master is told
        std::uint64_t counted = 0;                  // differences, in differences_
        bool stopped = false;                       // its answers are thrown away
    };
    using JobPtr = std::shared_ptr<Job>;

    void take_submitted();
    void begin(InspectStart order, std::shared_ptr<InspectListener> listener, Bytes* out);
    bool answered_completely(MessageKind kind, ByteView payload) const;
    [[nodiscard]] std::string made_durable(const Inspector& inspector) const;
    void tell(Job& job, Bytes& out, bool progress);
    void tell_done(Job& job, Bytes* out, const std::string& error);

    const int root_;
    ReplayGate& gate_;
    std::vector<JobPtr> jobs_;
    std::deque<JobPtr> asked_;  // whose questions are in flight
    Bytes words_;               // to the master, said with the next turn
    std::uint64_t told_ns_ = 0;
    std::atomic<bool> busy_{false};
    std::atomic<std::uint64_t> differences_{0};

    std::mutex mutex_;
    std::vector<std::pair<InspectStart, std::shared_ptr<InspectListener>>> submitted_;  // guarded by mutex_
};

}  // namespace tdfs

// Settled times: once an object has been quiet for a moment, its modification time is recorded.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "common/os/fd.hpp"
#include "master/locks.hpp"
#include "master/mutator.hpp"
#include "master/node_table.hpp"

namespace tdfs {

// Replicas do not follow modification times write by write. What was changed is remembered here and gets one record with
// its time when its file is closed, or after kQuietMs without a change.
//
// With --writeback the kernel writes pages when it likes and tells a file's time by itself, before them or after: the time
// it told last is put back on the backing file before it is recorded, so that mount, backing directory and replicas agree.
//
// Invariant: every object changed at or after settled_lsn() is either settled or remembered; the value is kept in a
// memory-mapped file, so that a restart knows from where on to look in the journal: after kill -9, and where a stop
// could not settle everything (no room, a disk that does not answer).
//
// Thread-safe; one thread of its own. Owned by main; everything it refers to outlives it.
class Settler {
  public:
    static constexpr std::uint64_t kQuietMs = 100;
    // What is never quiet is settled now and then all the same, and when its first change is far back: the journal is kept
    // from there on.
    static constexpr std::uint64_t kLongestMs = 2000;
    static constexpr std::uint64_t kFarBytes = 16ull << 20;

    Settler(Locks& locks, NodeTable& nodes, Mutator& mutator, Journal& journal);
    ~Settler();  // stop()

    // Opens (creating) the file that keeps settled_lsn in directory `dir`; what it says where it cannot say it.
    SysResult<void> open(int dir, Lsn if_new, Lsn if_damaged);
    [[nodiscard]] Lsn settled_lsn() const;
    void set_settled_lsn(Lsn lsn);  // before start()

    // The root directory is about to lose a name, until this is destroyed. Whether it is empty then is noted by the
    // housekeeper a little later; a restart must not take it for a disk that is not mounted because it was killed before.
    class RootLoss {
      public:
        RootLoss(Settler& settler, bool of_root) : words_(of_root ? settler.words_ : nullptr) {
            if (words_ != nullptr) ++words_[kLossesBegun];
        }
        ~RootLoss() {
            if (words_ != nullptr) ++words_[kLossesDone];
        }
        RootLoss(const RootLoss&) = delete;
        RootLoss& operator=(const RootLoss&) = delete;

      private:
        std::atomic<std::uint64_t>* words_;
    };
    // How many losses there were, to be given to root_noted() once the root has been looked at; nothing while one is
    // under way. One thread.
    [[nodiscard]] std::optional<std::uint64_t> root_losses() const;
    void root_noted(std::uint64_t losses) { words_[kLossesNoted] = losses; }
    // At a start, before open(): the killed process had not noted all losses.
    static bool lost_from_root_unnoted(int dir);

    // With --writeback: regular files have the time that the kernel says (SETATTR), not that at which their pages arrive
    // here. Before there are operations.
    void let_kernel_keep_times() { kernel_keeps_times_ = true; }
    [[nodiscard]] bool kernel_keeps_times() const { return kernel_keeps_times_; }
    // The content of `node` is about to change by what the kernel may have kept for a while. With the object's lock held.
    void before_late_change(Node* node, int fd) const;
    // The same attributes with the time that the kernel knows. With the object's lock held.
    [[nodiscard]] static FileInfo with_kernel_time(const Node* node, FileInfo info);

    void start();
    void stop();  // after the last operation; what is not settled by now is left to the next start

    // `node` was changed by an operation whose record stands at `lsn` and is about to be committed (not after: a kill in
    // between would forget it). Called with the operation's locks held.
    void touched(Node* node, Lsn lsn);
    // An explicit modification time was just recorded: nothing is left to settle. With the object's lock held.
    static void is_settled(Node* node) {
        node->kernel_mtime_ns.store(Node::kNotLate);
        node->touched_ns.store(0);
    }
    // Settles one object now (its file was closed). Without locks.
    void settle(Node* node);
    // An object that loses one of several names may live on under one that is not known, where its time could not be
    // recorded any more, now or by a restart. An error: it cannot be recorded now, so the name must not go. With the
    // object's lock held.
    SysResult<void> settle_before_loss(std::uint64_t ino);
    // Settles everything that is remembered now.
    void settle_all();
    // Brings settled_lsn() up to date without settling anything; takes no object's lock and never waits.
    void forget_settled();
    [[nodiscard]] std::size_t pending() const;

  private:
    struct Remembered {
        Node* node;  // pinned
        Lsn first;   // its first change that is not settled
        std::uint64_t since_ns;
    };
    void run();
    SysResult<void> settle_locked(Node* node);  // an error: tried again later
    void sweep(std::uint64_t quiet_ns);
    void look_through(std::optional<std::uint64_t> quiet_ns);  // by one thread at a time, see sweeping_

    Locks& locks_;
    NodeTable& nodes_;
    Mutator& mutator_;
    Journal& journal_;
    std::atomic<bool> kernel_keeps_times_{false};
    std::atomic<std::uint64_t> settled_lsn_{0};
    enum Word { kSettled, kLossesBegun, kLossesDone, kLossesNoted };
    std::atomic<std::uint64_t>* words_ =
        nullptr;  // memory-mapped; kSettled has parity and is only written, once it is open

    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<Remembered> remembered_;
    bool stopping_ = false;
    std::condition_variable swept_;
    bool sweeping_ = false;
    std::thread thread_;
};

}  // namespace tdfs

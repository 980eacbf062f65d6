// What holds the replay back: somebody's word (tdfsctl pause), or more deletions than --delete-limit allows.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "proto/ids.hpp"
#include "proto/record.hpp"
#include "slave/delete_limit.hpp"

namespace tdfs {

// Invariant: what is paused stays so, over restarts too (the file `pause` in the state directory), until resume(). A
// deletion that would exceed the limit is not admitted, and pauses. After that resume() lets through what had been
// received when it was said, however many deletions that is, and the resync that was stopped, to its end.
//
// Thread-safe. Owned by the replica; the directory outlives it.
class Brake {
  public:
    // A damaged file pauses: nobody can tell whether it said so.
    static Result<std::unique_ptr<Brake>, std::string> open(int state_dir, const std::optional<DeleteLimit>& limit,
                                                            DeleteCount::Objects objects);
    void on_change(std::function<void()> told) { told_ = std::move(told); }  // before there are other threads

    [[nodiscard]] bool paused() const { return paused_.load(std::memory_order_acquire); }
    [[nodiscard]] std::string text() const;  // why, since when, and the way on; "" when not paused

    Result<void, std::string> pause();  // by command
    Result<void, std::string> resume(Lsn received);

    // Whether the record may be applied, as far as the limit goes. `waiting()`: deletions in the spool behind it.
    bool admit(const Record& r, Lsn lsn, std::uint64_t time_ns, const std::function<std::string()>& waiting);
    // The same for what a resync is about to remove, with all that is beneath.
    bool admit_removal(const std::string& path, std::uint64_t objects);
    [[nodiscard]] bool has_limit() const { return limit_.has_value(); }
    void resync_done();

  private:
    struct Kept {
        std::string why;  // not empty: paused
        std::uint64_t since_ns = 0;
        bool by_limit = false;
        Lsn released_to;  // deletions before it are let through
        bool resync_released = false;
    };
    Brake(int state_dir, const std::optional<DeleteLimit>& limit, DeleteCount::Objects objects);
    Result<void, std::string> save();           // needs mutex_
    void trip(std::string why, bool by_limit);  // needs mutex_

    const int state_dir_;
    const std::optional<DeleteLimit> limit_;
    std::function<void()> told_;
    std::atomic<bool> paused_{false};

    mutable std::mutex mutex_;  // guards:
    Kept kept_;
    DeleteCount deletions_;  // in the master's time
    DeleteCount removals_;   // in ours
};

// Whether the record takes a name away for good: unlink, rmdir, or a rename onto something.
[[nodiscard]] bool is_deletion(const Record& r);

}  // namespace tdfs

// The heart of the master: an operation on the backing directory and its record in the journal as one step.
#pragma once

#include <atomic>
#include <functional>

#include "common/journal/journal.hpp"
#include "master/intent.hpp"
#include "proto/record.hpp"

namespace tdfs {

class Mutator;

// An operation between reserve and commit. Given up without commit(), the place in history becomes void. The journal's
// place is held while it lives: keep the operation's locks until then.
class Pending {
  public:
    Pending(Pending&& other) noexcept;
    Pending& operator=(Pending&&) = delete;
    ~Pending();
    // The operation is done with these results; `r` differs from what begin() was given in fixed-size fields only, or is
    // the shorter effects::write_of_nothing().
    void commit(const Record& r);
    // The operation is done, or may be, and what its record would have to say cannot be found out: as a commit that
    // failed. Returns `why`.
    Errno leave(Errno why);
    [[nodiscard]] Lsn lsn() const { return reservation_.lsn(); }

  private:
    friend class Mutator;
    Pending(Mutator& mutator, Reservation reservation, Bytes payload)
        : mutator_(&mutator), reservation_(std::move(reservation)), payload_(std::move(payload)) {}
    Mutator* mutator_;
    Reservation reservation_;
    Bytes payload_;
};

// Invariant: journal order equals effect order. begin() fixes the place in history; the caller carries the operation out and
// commits, holding from before begin() until after commit() the locks (locks.hpp) that order it against every other
// operation on the same objects. So whoever could have seen its effect stands later in the journal.
//
// If a commit fails after the effect (it must not: the space is held), no further change is accepted (EROFS): what is on the
// backing directory but not in the journal is resolved from the in-flight table at the next start.
//
// Thread-safe. Owned by main; `journal` outlives it.
class Mutator {
  public:
    Mutator(Journal& journal, bool compress) : journal_(journal), compress_(compress) {}

    // Called when there is no disk space for a record, by the operation's thread, with its locks held; true: some has been
    // made, try again. Set before there are operations.
    void on_full(std::function<bool()> make_space) { make_space_ = std::move(make_space); }

    // ENOSPC: no room for the record, nothing must be done. EROFS: see above.
    SysResult<Pending> begin(const Record& r, std::uint64_t ino = 0, std::uint64_t other_ino = 0);

    // A whole write: data to `fd` at r.offset, as much as goes, with its record. Returns the bytes written. `before_commit`
    // is called with the record's place once the data is written, or could not be.
    SysResult<std::size_t> write(int fd, const WriteRecord& r, const std::function<void(Lsn)>& before_commit);

    // A record without an effect here, lost without harm if the process is killed now; returns its place.
    SysResult<Lsn> note(const Record& r);

    [[nodiscard]] bool broken() const { return broken_.load(std::memory_order_relaxed); }
    // The last change was refused for want of disk space.
    [[nodiscard]] bool full() const { return full_.load(std::memory_order_relaxed); }
    [[nodiscard]] bool compresses() const { return compress_; }

  private:
    friend class Pending;
    SysResult<void> commit(Reservation&& reservation, std::uint8_t flags, std::size_t raw,
                           std::span<const ByteView> payload);
    void abandon(Reservation&& reservation);
    void leave(Reservation&& reservation, Errno why);
    void commit_part(Reservation&& reservation, const WriteRecord& r, std::size_t written);
    SysResult<Lsn> note(const Record& r, ByteView intent);
    SysResult<Reservation> reserve(std::size_t payload_bytes, ByteView intent, Room room);
    void broke(Lsn lsn, Errno e);

    Journal& journal_;
    const bool compress_;
    std::function<bool()> make_space_;
    std::atomic<bool> broken_{false};
    std::atomic<bool> full_{false};
};

}  // namespace tdfs

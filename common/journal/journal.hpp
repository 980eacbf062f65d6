// The journal: segments of frames on disk, the very bytes that go over the wire. Knows frames, not records.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "common/journal/commit_order.hpp"
#include "common/journal/frame_scanner.hpp"
#include "common/journal/inflight_table.hpp"
#include "common/journal/keeper.hpp"
#include "common/journal/marks.hpp"
#include "common/journal/segment.hpp"
#include "common/journal/spare_segment.hpp"
#include "common/os/fd.hpp"
#include "proto/bytes.hpp"
#include "proto/errno.hpp"
#include "proto/frame.hpp"
#include "proto/ids.hpp"

namespace tdfs {

struct JournalOptions {
    std::uint64_t segment_bytes = 64ull << 20;  // preallocated; at least 4 * kMaxFrameBytes unless a test says so
    std::uint32_t slots = 128;                  // reservations in flight at once; further reserve() calls wait
    // No further segment is made where less than this would be left on the file system: ENOSPC.
    std::uint64_t keep_free_bytes = 0;
    // Where nobody asks for a sync, so much may be on no disk; looked at whenever a segment ends.
    std::uint64_t unsynced_bytes = 0;
};

// What a recovery writes into the place of an InFlight. Raw payload of a kRecord frame (stored uncompressed); empty:
// a void frame. When it does not fit, the place becomes void and `payload` is appended at the tail. An error: it cannot be
// told now, and the journal is not opened.
using Resolver = std::function<SysResult<Bytes>(const InFlight&)>;

// What a reservation is for. While there is no space for another segment, the last part of the current one (a 64th) is kept
// for operations that give space back, so that a full disk can be emptied.
enum class Room : std::uint8_t { kOrdinary, kGivesBack };

// A place in history that has been set aside. Move-only handle; must be given to commit() or abandon() (a broken
// invariant otherwise).
class Reservation {
  public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept { *this = std::move(other); }
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation();
    [[nodiscard]] Lsn lsn() const { return lsn_; }
    [[nodiscard]] std::size_t frame_bytes() const { return frame_bytes_; }
    [[nodiscard]] Lsn end() const { return lsn_ + frame_bytes_; }
    explicit operator bool() const { return frame_bytes_ != 0; }

  private:
    friend class Journal;
    Lsn lsn_;
    std::size_t frame_bytes_ = 0;
    std::uint32_t slot_ = 0;
    std::uint64_t ticket_ = 0;  // in CommitOrder
    std::uint64_t time_ns_ = 0;
    std::shared_ptr<const Segment> segment_;
};

// An open segment file and the part of it that readers may see; keeps the file open while in use.
struct SegmentView {
    std::shared_ptr<const Segment> segment;
    int fd = -1;
    std::uint64_t file_offset = 0;
    std::uint64_t bytes = 0;  // committed bytes from there to the end of the segment or the tail; 0: nothing yet
};

// A reader that sleeps outside (in poll) arms its listener, looks at tail() once more, and sleeps on fd(). Commits
// write to an armed listener's eventfd only, so that an idle or busy reader costs a commit nothing.
class JournalListener {
  public:
    JournalListener();
    ~JournalListener();
    JournalListener(const JournalListener&) = delete;
    JournalListener& operator=(const JournalListener&) = delete;
    [[nodiscard]] int fd() const { return event_.get(); }
    void arm();
    void disarm();  // also drains the eventfd
    void wake();    // from any thread, also without a commit

  private:
    friend class Journal;
    OwnFd event_;
    std::atomic<bool> armed_{false};
};

struct JournalError {
    std::string text;  // one line: what, where, what to do
};

// Invariants: frames are contiguous from oldest() to tail(); everything before tail() is committed; a byte once
// visible never changes. Two ways to write, never mixed in one journal: reserve+commit (master), append (slave's spool).
//
// Thread-safe. Owned by main; outlives all reservations, listeners and views. Lock order: none of the caller's locks
// are taken inside; reserve() may wait for a free slot, so a thread holds at most one reservation. Has a thread of its
// own: a daemon opens it after it has gone to the background. One process opens a journal at a time (who owns the
// state directory has seen to that).
class Journal {
  public:
    // Opens or creates the journal in directory `dir` (a name "journal" beneath it is used). `first` is the lsn of the first byte
    // if there is none yet. Cuts a torn tail. Reservations of a killed process are given to `resolve` in lsn order; without
    // a resolver they become void. `same_boot` false: the machine went down meanwhile, so the table of reservations is
    // not trusted, and the tail ends at the first frame that does not verify.
    static Result<std::unique_ptr<Journal>, JournalError> open(int dir, const JournalOptions& options, Lsn first,
                                                               bool same_boot, const Resolver& resolve);
    ~Journal();  // without close(): as if the process were killed, but no reservation may be open

    // What open() found, for the log: bytes cut from a torn tail, reservations resolved.
    struct OpenReport {
        std::uint64_t cut_bytes = 0;
        std::uint32_t resolved = 0;
        bool clean_stop = false;  // it had been close()d
        // Bytes that had been committed (same boot) or durable (new boot) are gone. Others may have seen them: history
        // forks here, and a master must begin a new epoch.
        bool lost_committed = false;
        // Reservations in flight were damaged, so that an effect may stand in no record: a master must begin a new
        // epoch, too.
        std::uint32_t lost_reservations = 0;
        bool created = false;            // there was no segment
        std::vector<std::string> notes;  // one line for each oddity that was healed or let be
    };
    [[nodiscard]] const OpenReport& open_report() const { return report_; }

    // Fixes the place of a frame whose payload will take at most payload_bytes. Holds the disk space (ENOSPC otherwise, and
    // nothing has changed). `intent` is kept in the memory-mapped table until commit, so that it outlives the process.
    // EMSGSIZE: payload or intent too long, or a frame longer than a segment. ECANCELED: interrupted while waiting for
    // a slot. ESHUTDOWN: closed. Another error: a commit has failed before; what is in place stays, to be resolved at the
    // next open, and nothing more can be written.
    SysResult<Reservation> reserve(std::size_t payload_bytes, ByteView intent, Room room = Room::kOrdinary);
    // Fills the place: payload is the concatenation of the pieces, as it is to be stored (raw_bytes: size before
    // compression). Shorter than reserved is padded.
    SysResult<void> commit(Reservation&& r, std::uint8_t flags, std::uint32_t raw_bytes,
                           std::span<const ByteView> payload);
    SysResult<void> abandon(Reservation&& r);  // becomes a void frame
    // What became of it cannot be told now: as a commit that failed.
    void leave(Reservation&& r, Errno why);

    // Appends complete, verified frames whose first lsn is tail(). For a spool. `frames` end at a frame boundary; EINVAL
    // if not, or if they are not contiguous. On an error tail() tells which of them are in; the rest may be tried again.
    SysResult<void> append(ByteView frames);

    [[nodiscard]] Lsn oldest() const { return Lsn(oldest_.load()); }
    [[nodiscard]] Lsn tail() const { return Lsn(tail_.load()); }  // end of what readers may see
    // End of all places given out: whatever was committed until now stands before it, though readers may not see it yet.
    [[nodiscard]] Lsn reserved() const;
    [[nodiscard]] Lsn durable() const { return Lsn(durable_.load()); }  // everything before it has been synced
    [[nodiscard]] std::uint64_t disk_bytes() const;                     // of all segments, what is set aside included

    // Group commit: returns once everything before `upto` is on the disk. Waits until it is committed first. An error is
    // final for that data and is returned to every later caller. ECANCELED: interrupted before it was committed.
    SysResult<void> sync(Lsn upto);

    // For append(): holds disk space for the next `bytes` (a segment at most). ENOSPC: there is none, or less than `keep_free` bytes
    // would be left on the file system.
    SysResult<void> hold_room(std::uint64_t bytes, std::uint64_t keep_free);

    // Waits until tail() > `beyond` or the deadline; false on the deadline or after interrupt().
    bool wait_beyond(Lsn beyond, std::chrono::milliseconds timeout);
    void interrupt();  // makes all waiting calls return, these and later ones (shutdown)

    void add_listener(JournalListener& l);
    void remove_listener(JournalListener& l);

    // Why nothing can be written any more; 0: it can. Something may have been done then that stands in no frame.
    [[nodiscard]] Errno refused() const;

    // Where a byte is kept, for people: "0000000000000000.seg at 123".
    [[nodiscard]] std::string where(Lsn at) const;

    // The committed bytes at `at`. ENOENT: before oldest(). ERANGE: beyond tail().
    SysResult<SegmentView> view(Lsn at);

    // Drops whole segments all of whose bytes are before `upto`. The segment being written stays.
    SysResult<void> drop_before(Lsn upto);

    // Throws everything away and begins anew at `first` (after a resync, or in a new epoch). Readers seek afterwards.
    // EBUSY: a reservation is open. Any other error: nothing can be written until the journal is opened again.
    SysResult<void> reset(Lsn first);

    // Marks the stop as clean: everything synced, no reservation open (EBUSY otherwise). Nothing can be written afterwards.
    SysResult<void> close();

  private:
    friend class JournalOpening;

    // A segment that is full, to be cut to what it holds.
    struct Ended {
        std::shared_ptr<const Segment> segment;
        std::uint64_t bytes = 0;
    };

    Journal(OwnFd dir, const JournalOptions& options);

    // Under mutex_:
    SysResult<Reservation> place(std::uint32_t slot, std::uint32_t frame_bytes, Room room);
    SysResult<void> make_room(std::size_t frame_bytes, Room room);  // the next frame fits the last segment afterwards
    SysResult<void> grow_segment(std::uint64_t keep_free);          // one that was made on a full disk
    SysResult<void> roll_over();
    void want_spare();
    void set_tail(Lsn tail);
    SysResult<void> clear_beyond_tail();
    [[nodiscard]] std::uint64_t used_bytes() const { return segments_.back()->offset_of(reserved_); }
    [[nodiscard]] std::vector<std::shared_ptr<const Segment>> segments_between(Lsn from, Lsn to) const;
    [[nodiscard]] Lsn end_of(std::size_t segment) const;  // by its place in segments_
    SysResult<void> begin_anew(Lsn first);

    void publish(Reservation&& r);
    void refuse_writes(Errno why);
    SysResult<void> sync_once(std::unique_lock<std::mutex>& lock);
    void keep_house();

    // Constant after open.
    const OwnFd dir_;
    const JournalOptions options_;
    OpenReport report_;

    // Thread-safe by themselves.
    Marks marks_;
    InflightTable table_;
    SpareSegment spare_;

    std::mutex append_mutex_;     // one append() at a time; before mutex_
    std::mutex retention_mutex_;  // one drop_before() at a time; before mutex_, after append_mutex_

    // Guarded by mutex_. The atomics are written under it and read by anyone.
    mutable std::mutex mutex_;
    std::deque<std::shared_ptr<const Segment>> segments_;  // never empty; the last one is written
    std::uint64_t capacity_ = 0;                           // bytes allocated in the last one, and its file's length
    Lsn reserved_;                                         // where the next frame goes
    CommitOrder order_{Lsn()};
    std::uint64_t last_time_ns_ = 0;
    std::uint64_t spare_retry_ns_ = 0;
    bool spare_wanted_ = false;
    bool interrupted_ = false;
    Errno refused_{0};   // why nothing can be written any more
    bool torn_ = false;  // an append that failed has left something beyond the tail
    std::vector<Ended> ended_;
    bool trimming_ = false;  // the keeper has one of them
    std::vector<JournalListener*> listeners_;
    std::condition_variable grew_;
    int grew_waiters_ = 0;
    std::atomic<std::uint64_t> oldest_{0};
    std::atomic<std::uint64_t> tail_{0};

    // Group commit, guarded by mutex_ too.
    bool syncing_ = false;          // somebody is at it, outside the lock
    bool directory_dirty_ = false;  // names in the directory are not yet durable
    Errno sync_error_{0};
    std::condition_variable synced_;
    std::atomic<std::uint64_t> durable_{0};

    Keeper keeper_;  // last: stopped before all else goes
};

// Reads a journal frame by frame, verifying each. Not thread-safe; one per reader. The journal outlives it.
class JournalReader {
  public:
    JournalReader(Journal& journal, Lsn at) : journal_(journal), at_(at) {}

    enum class Status { kFrame, kAtTail, kGone, kDamaged, kError };
    // On kFrame, `frame` points into the reader's buffer until the next call. kGone: the position is not retained any more.
    // kDamaged: checksum or header wrong at position(). kError: reading failed with error().
    Status next(FrameView& frame);
    [[nodiscard]] Lsn position() const { return at_; }  // of the next frame
    void seek(Lsn at);
    [[nodiscard]] Errno error() const { return error_; }

  private:
    Status look(FrameView& frame);

    Journal& journal_;
    Lsn at_;
    SegmentView view_;  // of the journal at view_at_
    Lsn view_at_;
    FrameScanner scanner_;  // read-ahead
    Errno error_{0};
};

}  // namespace tdfs

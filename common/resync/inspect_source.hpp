// The master's side of an inspection: answers the slave's questions in mid-stream.
#pragma once

#include <functional>
#include <memory>

#include "common/journal/journal.hpp"
#include "common/resync/source.hpp"
#include "proto/inspect.hpp"

namespace tdfs {

struct InspectSourceParts {
    int root = -1;  // of the backing directory
    const Journal& journal;
    WriterHold& writers;
    // Whether an object's time is still to be recorded. Called while writers are held.
    std::function<bool(const ObjectId&)> unsettled;
    std::uint32_t hold_limit_ms = 100;  // doubled while it is too short for what is asked, up to
    std::uint32_t longest_hold_ms = 60'000;
};

// A state machine without network I/O; one session thread. Everything in `parts` outlives it.
//
// Invariant: a Looked with `held` tells how its paths were at exactly its lsn. The caller has sent nothing of the
// journal beyond that lsn when it is produced: produce() is called at a frame boundary at or before the tail.
class InspectSource {
  public:
    explicit InspectSource(InspectSourceParts parts);
    ~InspectSource();

    // List, Stat, Hashes, Look. More than kMaxQuestions unanswered ones are refused.
    Result<void, DecodeError> receive(MessageKind kind, ByteView payload);
    // Appends answers, some 256 KiB a call; false: nothing to say until more is received. What cannot be read is
    // answered with Cannot.
    bool produce(Bytes& out);

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace tdfs

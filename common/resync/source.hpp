// The master's side of a resync: answers the sink's questions from the backing directory, tells what changed
// meanwhile, and ends with a short hold of the writers.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/journal/journal.hpp"
#include "common/resync/touched.hpp"
#include "proto/resync.hpp"

namespace tdfs {

// Keeps every change out for a moment.
class WriterHold {
  public:
    virtual ~WriterHold() = default;
    // No operation is between reserve and commit, and none starts until release(). Returns the journal's tail, which is
    // then exactly the state of the backing directory.
    virtual Lsn hold() = 0;
    virtual void release() = 0;
};

struct ResyncLimits {
    std::size_t last_round_paths = 256;           // hold writers when no more than this is left ...
    std::uint64_t last_round_bytes = 4ull << 20;  // ... with no more changed content than this
    std::uint32_t max_rounds = 6;                 // then the last round is held however much is left ...
    std::uint32_t longest_hold_ms = 60'000;       // ... for twice as long as the round before took, up to this
    std::uint32_t hold_limit_ms = 1000;           // else: a last round that takes longer is repeated without a hold
};

inline constexpr std::size_t kMaxQuestions = 1024;

// A state machine without network I/O; reads the backing directory. One session thread. All references outlive it; the
// destructor releases a hold (also when the link is lost in the last round).
class ResyncSource {
  public:
    // `root`: descriptor of the backing directory. `epoch`: current. A hold is also released when the sink takes longer
    // than the limit of a hold in the last round (the round is then repeated without `last`).
    ResyncSource(int root, Journal& journal, Epoch epoch, WriterHold& writers, ResyncScope scope,
                 ResyncLimits limits = {});
    ~ResyncSource();

    // Questions and RoundDone; Progress is ignored. More than kMaxQuestions unanswered ones are refused.
    Result<void, DecodeError> receive(MessageKind kind, ByteView payload);
    // Appends answers, about 1 MiB a call; false: nothing to say until more is received. Where the backing directory or
    // the journal cannot be read, a Refuse with the reason is the last answer: guessing would remove what is there.
    bool produce(Bytes& out);
    [[nodiscard]] std::optional<Position> finished() const;
    // How long writers had to wait for the last round; 0 before it.
    [[nodiscard]] double hold_ms() const;
    // As given; for ResyncStart, which the publisher sends.
    [[nodiscard]] const std::string& reason() const { return scope_.reason; }
    [[nodiscard]] bool full() const { return scope_.full; }

  private:
    class Impl;
    const ResyncScope scope_;
    std::unique_ptr<Impl> impl_;
};

}  // namespace tdfs

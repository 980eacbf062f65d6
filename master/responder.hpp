// How a slave's resync meets the master's file system.
#pragma once

#include <memory>
#include <string>

#include "common/resync/source.hpp"
#include "common/stream/publisher.hpp"
#include "master/locks.hpp"

namespace tdfs {

// Holds all writers by the tree's lock: every operation has it shared from before reserve() until after commit().
// Owned by main, shared by all resyncs: one that holds the writers keeps others from doing so.
class TreeHold : public WriterHold {
  public:
    TreeHold(Locks& locks, Journal& journal) : locks_(locks), journal_(journal) {}
    Lsn hold() override {
        locks_.tree.lock();
        return journal_.tail();
    }
    void release() override { locks_.tree.unlock(); }

  private:
    Locks& locks_;
    Journal& journal_;
};

// One slave's resync, as the publisher drives it. Owned by its session; all references outlive it.
class Responder : public ResyncResponder {
  public:
    Responder(int root, Epoch epoch, Journal& journal, WriterHold& writers, ResyncScope scope)
        : source_(root, journal, epoch, writers, std::move(scope)) {}
    Result<void, DecodeError> receive(MessageKind kind, ByteView payload) override {
        return source_.receive(kind, payload);
    }
    bool produce(Bytes& out) override { return source_.produce(out); }
    [[nodiscard]] std::optional<Position> finished() const override { return source_.finished(); }
    [[nodiscard]] bool full() const override { return source_.full(); }
    [[nodiscard]] double hold_ms() const override { return source_.hold_ms(); }

  private:
    ResyncSource source_;
};

}  // namespace tdfs

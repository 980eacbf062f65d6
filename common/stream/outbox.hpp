// Session messages that wait for the socket.
#pragma once

#include "common/stream/timing.hpp"
#include "proto/session.hpp"

namespace tdfs {

// Bounded by its owner: a session adds something only when this is empty, and then at most about 1 MiB. Not
// thread-safe.
class Outbox {
  public:
    template <class Message>
    void add(MessageKind kind, const Message& m, Instant now) {
        const Bytes frame = message(kind, encode(m), now.wall_ns);
        bytes_.insert(bytes_.end(), frame.begin(), frame.end());
    }
    // For producers of whole frames.
    [[nodiscard]] Bytes& bytes() { return bytes_; }

    [[nodiscard]] bool empty() const { return sent_ == bytes_.size(); }
    [[nodiscard]] ByteView rest() const { return ByteView(bytes_).subspan(sent_); }
    void sent(std::size_t n) {
        sent_ += n;
        if (empty()) {
            bytes_.clear();
            sent_ = 0;
        }
    }

  private:
    Bytes bytes_;
    std::size_t sent_ = 0;
};

}  // namespace tdfs

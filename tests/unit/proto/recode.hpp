// Any message by its kind, decoded and encoded again. Used by the tests and the fuzzers.
#pragma once

#include <array>
#include <optional>

#include "proto/inspect.hpp"

namespace tdfs::test {

inline constexpr std::array kAllMessages{
    MessageKind::kHello,       MessageKind::kWelcome,  MessageKind::kRefuse,      MessageKind::kResume,
    MessageKind::kHeartbeat,   MessageKind::kAck,      MessageKind::kResyncStart, MessageKind::kList,
    MessageKind::kListPart,    MessageKind::kStat,     MessageKind::kStatReply,   MessageKind::kRange,
    MessageKind::kRangePart,   MessageKind::kRangeEnd, MessageKind::kXattrs,      MessageKind::kXattrsReply,
    MessageKind::kRoundDone,   MessageKind::kTouched,  MessageKind::kProgress,    MessageKind::kInspectStart,
    MessageKind::kInspectStop, MessageKind::kHashes,   MessageKind::kHashesReply, MessageKind::kLook,
    MessageKind::kLooked,      MessageKind::kCannot,   MessageKind::kFound,       MessageKind::kInspectProgress,
    MessageKind::kInspectDone,
};

// The encoding of what `payload` was decoded to; nothing where the decoder refused it.
[[nodiscard]] std::optional<Bytes> recode(MessageKind kind, ByteView payload);

// Whether a decoded `payload` must come out of recode() byte for byte. Not so for the greeting of a peer of another
// version, of which only the front is read.
[[nodiscard]] bool is_exact(MessageKind kind, ByteView payload);

}  // namespace tdfs::test

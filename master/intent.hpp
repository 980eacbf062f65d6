// What an operation in flight leaves in the journal's table, and how a restart resolves it.
#pragma once

#include "common/journal/journal.hpp"
#include "proto/record.hpp"

namespace tdfs {

// The record that is to be, and what stood at its names before.
struct Intent {
    std::uint64_t ino = 0;         // of the object the operation is about (0: a new one)
    std::uint64_t other_ino = 0;   // of what stands at the second name (rename), or of the source (copy)
    std::uint32_t data_bytes = 0;  // of a write, whose data is not kept
    Record record;
};

// Encoded: ino, other_ino, data_bytes, record (a write: its head). See DESIGN.md.
void encode_intent(const Intent& intent, ByteView encoded_record, Bytes& out);
[[nodiscard]] Result<Intent, DecodeError> decode_intent(ByteView bytes);

// Resolves what a killed master left in flight, by looking at the objects beneath `root`: names that were to change
// tell by their inode numbers whether they did; what can be repeated (attributes, fallocate, xattrs, copies) is carried
// out to its end; a write is recorded as the bytes that are there now, which may be none (effects::write_of_nothing). Returns
// the payload of the record, or nothing; an error where the machine does not let it be told.
[[nodiscard]] SysResult<Bytes> resolve_intent(int root, const InFlight& in_flight);

}  // namespace tdfs

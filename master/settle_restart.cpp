#include "master/settle_restart.hpp"

#include <algorithm>

#include "common/os/file.hpp"
#include "common/resync/touched.hpp"

namespace tdfs {

Result<std::size_t, JournalError> settle_after_kill(int root, Journal& journal, Mutator& mutator, Lsn from) {
    TouchedPaths touched;
    JournalReader reader(journal, std::max(from, journal.oldest()));
    Bytes scratch;
    for (FrameView frame;;) {
        const auto status = reader.next(frame);
        if (status == JournalReader::Status::kAtTail) break;
        if (status != JournalReader::Status::kFrame) {
            return Unexpected(
                JournalError{"the journal cannot be read at lsn " + std::to_string(reader.position().bytes())});
        }
        if (frame.header.kind != FrameKind::kRecord) continue;
        const auto payload = raw_payload(frame, scratch);
        if (!payload) return Unexpected(JournalError{payload.error().what});
        const auto record = decode_record(*payload);
        if (!record) return Unexpected(JournalError{record.error().what});
        touched.add(*record);
    }
    std::size_t settled = 0;
    for (const TouchedPath& t : touched.take()) {
        if (is_within(t.path, kStateName)) continue;
        const auto parent = open_parent_beneath(root, t.path);
        if (!parent) continue;  // gone since
        const auto info = stat_at(parent->get(), std::string(leaf_of(t.path)));
        if (!info) continue;
        AttributesRecord r;
        r.object = info->object;
        r.path = t.path;
        r.valid = AttributesRecord::kMtime | AttributesRecord::kSettled;
        r.mtime_ns = info->mtime_ns;
        if (const auto noted = mutator.note(r); !noted) {
            return Unexpected(JournalError{"the journal takes no record: " + noted.error().text()});
        }
        ++settled;
    }
    return settled;
}

}  // namespace tdfs

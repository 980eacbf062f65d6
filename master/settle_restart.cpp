#include "master/settle_restart.hpp"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "common/resync/touched.hpp"

namespace tdfs {

Result<std::optional<std::size_t>, JournalError> settle_at_restart(int root, Journal& journal, Mutator& mutator,
                                                                   Lsn from) {
    TouchedPaths touched;
    JournalReader reader(journal, std::max(from, journal.oldest()));
    Bytes scratch;
    for (FrameView frame;;) {
        const auto status = reader.next(frame);
        if (status == JournalReader::Status::kAtTail) break;
        if (status == JournalReader::Status::kError) {
            return Unexpected(JournalError{"the journal cannot be read at lsn " +
                                           std::to_string(reader.position().bytes()) + ": " + reader.error().text()});
        }
        const bool is_record = status == JournalReader::Status::kFrame && frame.header.kind == FrameKind::kRecord;
        if (status == JournalReader::Status::kFrame && !is_record) continue;
        const auto payload = is_record ? raw_payload(frame, scratch) : Result<ByteView, DecodeError>(bad("damaged"));
        const auto record = payload ? decode_record(*payload) : Result<Record, DecodeError>(bad("damaged"));
        if (!record) {
            spdlog::error("journal lsn={} file=\"{}\": a frame is damaged", reader.position().bytes(),
                          journal.where(reader.position()));
            return std::optional<std::size_t>();
        }
        touched.add(*record);
    }
    std::size_t settled = 0;
    for (const TouchedPath& t : touched.take()) {
        if (is_within(t.path, kStateName)) continue;
        const auto parent = open_parent_beneath(root, t.path);
        const auto info = parent ? stat_at(parent->get(), std::string(leaf_of(t.path))) : fail(parent.error());
        if (!info && is_trouble(info.error())) {
            return Unexpected(JournalError{"the time of " + t.path + " cannot be read: " + info.error().text()});
        }
        if (!info) continue;  // gone since
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
    return std::optional<std::size_t>(settled);
}

}  // namespace tdfs

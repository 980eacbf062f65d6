#include "common/control/journal_log.hpp"

#include <chrono>
#include <string>

#include <nlohmann/json.hpp>

#include "common/os/utc.hpp"
#include "proto/record.hpp"

namespace tdfs {

namespace {
using nlohmann::json;

json failure(const std::string& text) { return {{"error", text}, {"code", 1}}; }

std::string line_of(const FrameHeader& header, const std::string& text) {
    return std::to_string(header.lsn.bytes()) + " " + utc_text_micros(header.time_ns) + " " + text;
}

std::string describe(const FrameView& frame, Bytes& scratch) {
    if (frame.header.kind == FrameKind::kVoid) return "void";
    const auto payload = raw_payload(frame, scratch);
    if (!payload) return std::string("unreadable: ") + payload.error().what;
    const auto record = decode_record(*payload);
    return record ? to_text(*record) : std::string("unreadable: ") + record.error().what;
}
}  // namespace

json answer_log(Journal& journal, const ControlRequest& request) {
    const json& command = request.command;
    const Lsn from(command.value("from", std::uint64_t{0}));
    const Lsn to(command.contains("to") && command["to"].is_number_unsigned() ? command["to"].get<std::uint64_t>()
                                                                              : ~std::uint64_t{0});
    const bool follow = command.value("follow", false);

    // Frames can only be found from a frame's beginning: reading starts at the oldest one, and shows from `from` on.
    JournalReader reader(journal, journal.oldest());
    Bytes scratch;
    std::uint64_t shown = 0;
    for (FrameView frame; !request.cancelled() && reader.position() < to;) {
        switch (reader.next(frame)) {
            case JournalReader::Status::kFrame:
                if (frame.header.lsn < from || frame.header.lsn >= to) break;
                if (!request.emit({{"line", line_of(frame.header, describe(frame, scratch))}})) return {{"ok", true}};
                ++shown;
                break;
            case JournalReader::Status::kAtTail:
                if (!follow) return {{"ok", true}, {"records", shown}};
                journal.wait_beyond(reader.position(), std::chrono::milliseconds(200));
                break;
            case JournalReader::Status::kGone:
                if (!follow)
                    return failure("lsn " + std::to_string(reader.position().bytes()) +
                                   " is not kept any more (oldest: " + std::to_string(journal.oldest().bytes()) + ")");
                reader.seek(journal.oldest());
                break;
            case JournalReader::Status::kDamaged:
                return failure("the journal is damaged at lsn " + std::to_string(reader.position().bytes()));
            case JournalReader::Status::kError:
                return failure("the journal cannot be read at lsn " + std::to_string(reader.position().bytes()) + ": " +
                               reader.error().text());
        }
    }
    return {{"ok", true}, {"records", shown}};
}

}  // namespace tdfs

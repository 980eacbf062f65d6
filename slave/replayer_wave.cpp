// What a crew adds to the replay: waves, collected ahead of the position.
#include <spdlog/spdlog.h>

#include "slave/brake.hpp"
#include "slave/replayer.hpp"

namespace tdfs {

namespace {

bool removes_something(ByteView payload) {
    const auto record = decode_record(payload);
    return record && is_deletion(*record);
}

}  // namespace

// False: there is none that would be worth it, and the next frame goes the ordinary way. A wave is carried out to its end also
// where the replay is to stop or pause: it ends at a position that is exact.
bool Replayer::apply_wave(JournalReader& reader) {
    const Lsn begin = reader.position();
    if (stop_ || brake_.paused() || begin < alone_until_ || state_.is_ahead_of(begin)) return false;
    collect(reader);
    if (wave_.groups().size() < 2) {
        if (!wave_.empty()) alone_until_ = wave_.end();
        wave_.clear();
        if (reader.position() != begin) reader.seek(begin);
        return false;
    }
    applier_.idle();
    const auto failure = crew_->run(wave_);
    if (failure) {
        spdlog::warn("replay: record {} does not apply: {}; trying again", failure->lsn.bytes(), failure->why);
        retries_.fetch_add(1, std::memory_order_relaxed);
        failed_ahead_ = failure->lsn;
        forget();
    }
    Lsn end = begin;
    for (const auto& item : wave_.items()) {
        if (!item.done) break;
        gates_.applied(item.record);
        names_changed(item.record);
        applied(item.header, true);
        end = item.end();
    }
    wave_.clear();
    if (reader.position() != end) reader.seek(end);
    return true;
}

// Deletions that are counted are admitted one by one, in order.
void Replayer::collect(JournalReader& reader) {
    wave_.clear();
    Bytes scratch;
    FrameView frame;
    while (!gates_.due(reader.position()) && reader.next(frame) == JournalReader::Status::kFrame) {
        if (frame.header.kind != FrameKind::kRecord) break;
        const auto payload = raw_payload(frame, scratch);
        if (!payload || (brake_.has_limit() && removes_something(*payload)) || !wave_.add(frame.header, *payload))
            break;
    }
}

// Every applier keeps directories open by their paths, and only the one that moves one knows.
void Replayer::names_changed(const Record& r) {
    const auto forget = [this](std::string_view path) {
        applier_.forget(path);
        crew_->forget(path);
    };
    if (const auto* rename = std::get_if<RenameRecord>(&r)) {
        forget(rename->path);
        forget(rename->new_path);
    } else if (const auto* rmdir = std::get_if<RmdirRecord>(&r)) {
        forget(rmdir->path);
    }
}

void Replayer::forget() {
    applier_.forget();
    if (crew_ != nullptr) crew_->forget();
}

}  // namespace tdfs

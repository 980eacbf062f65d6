#include "common/journal/journal.hpp"

namespace tdfs {

void JournalReader::seek(Lsn at) {
    at_ = at;
    view_ = {};
    scanner_.forget();
}

JournalReader::Status JournalReader::next(FrameView& frame) {
    const auto status = look(frame);
    if (status == Status::kFrame) {
        at_ = at_ + frame.bytes.size();
    } else if (status != Status::kAtTail) {
        seek(at_);  // the next call looks anew
    }
    return status;
}

JournalReader::Status JournalReader::look(FrameView& frame) {
    // The lock is taken for each stretch of the journal, not for each frame.
    if (!view_.segment || at_ - view_at_ >= view_.bytes) {
        if (at_ >= journal_.tail()) return Status::kAtTail;
        auto view = journal_.view(at_);
        if (!view) return view.error().value() == ENOENT ? Status::kGone : Status::kAtTail;
        if (view->bytes == 0) return Status::kAtTail;  // reset meanwhile
        view_ = std::move(*view);
        view_at_ = at_;
    }
    const auto into_view = at_ - view_at_;
    switch (scanner_.look(view_.segment, view_.file_offset + into_view, view_.bytes - into_view, frame)) {
        case FrameScanner::Found::kFrame:
            return Status::kFrame;
        case FrameScanner::Found::kNone:
            return Status::kDamaged;
        case FrameScanner::Found::kError:
            break;
    }
    error_ = scanner_.error();
    return Status::kError;
}

}  // namespace tdfs

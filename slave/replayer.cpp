// Stages, all in one thread: read a frame and verify it (JournalReader); expand and decode it; apply it; move the
// applied position; tell. replayer_wave.cpp has what a crew adds.
#include "slave/replayer.hpp"

#include <poll.h>

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "proto/frame.hpp"
#include "proto/record.hpp"

namespace tdfs {

namespace {

constexpr std::uint64_t kPublishNs = 50'000'000;
constexpr int kIdleMs = 1000;  // then files are not kept open for writing any more
constexpr std::uint32_t kFirstPauseMs = 100;
constexpr std::uint32_t kLongestPauseMs = 5000;
constexpr std::size_t kMaxShownBytes = 512;                // of a record in a message
constexpr std::uint64_t kMostCountedBytes = 256ull << 20;  // of the spool, for what waits behind a deletion

// False on the deadline.
bool sleep_on(const JournalListener& listener, int timeout_ms) {
    pollfd p{listener.fd(), POLLIN, 0};
    return ::poll(&p, 1, timeout_ms) != 0;  // EINTR: the caller looks again anyway
}

std::string short_text(const Record& r) {
    std::string text = to_text(r);
    if (text.size() > kMaxShownBytes) {
        text.resize(kMaxShownBytes);
        text += "...";
    }
    return text;
}

}  // namespace

Replayer::Replayer(Journal& spool, AppliedState& state, Applier& applier, Brake& brake,
                   std::function<void()> on_progress, JudgeFailure judge, ApplyCrew* crew)
    : spool_(spool),
      state_(state),
      applier_(applier),
      brake_(brake),
      on_progress_(std::move(on_progress)),
      judge_(std::move(judge)),
      crew_(crew) {
    spool_.add_listener(listener_);
}

Replayer::~Replayer() {
    stop();
    spool_.remove_listener(listener_);
}

void Replayer::start() {
    TDFS_INVARIANT(!thread_.joinable(), "a replayer is started once at a time");
    TDFS_INVARIANT(state_.valid(), "replay starts at a known position");
    stop_ = false;
    listener_.disarm();
    stalled_text_.clear();
    alone_until_ = Lsn();
    failed_ahead_.reset();
    set_state(ReplayStatus::State::kRunning, "");
    if (crew_ != nullptr) crew_->start();
    thread_ = std::thread([this] { run(); });
}

void Replayer::stop() {
    if (!thread_.joinable()) return;
    stop_ = true;
    listener_.wake();
    thread_.join();
    if (crew_ != nullptr) crew_->stop();
    forget();
    gates_.clear();
    set_state(ReplayStatus::State::kStopped, "");
}

ReplayStatus Replayer::status() const {
    const std::lock_guard lock(mutex_);
    return {shown_, error_, records_, bytes_, skipped_, retries_, soft_errors_, hard_errors_};
}

void Replayer::meet(Lsn at, ReplayGate::Meeting meeting) {
    gates_.meet(at, std::move(meeting));
    listener_.wake();
}

void Replayer::set_state(ReplayStatus::State state, std::string error) {
    const std::lock_guard lock(mutex_);
    shown_ = state;
    error_ = std::move(error);
}

void Replayer::run() {
    using Status = JournalReader::Status;
    JournalReader reader(spool_, state_.point().lsn);
    Bytes scratch;
    auto next = Next::kGoOn;
    while (next == Next::kGoOn && !stop_) {
        const Lsn at = reader.position();
        if (gates_.due(at)) {
            applier_.idle();  // what is looked at has no file open for writing
            if (gates_.pass(at, !state_.is_ahead_of(at))) forget();
            on_progress_();
        }
        if (crew_ != nullptr && apply_wave(reader)) continue;
        FrameView frame;
        switch (reader.next(frame)) {
            case Status::kFrame:
                next = apply(frame, scratch);
                break;
            case Status::kAtTail:
                next = wait_for_frames(at);
                break;
            case Status::kGone:
                next = damaged(at, "the spool begins later");
                break;
            case Status::kDamaged:
                next = damaged(at, "a frame of the spool does not verify");
                break;
            case Status::kError:
                next = stalled(at, "read the spool", reader.error().text());
                break;
        }
    }
}

// Tries one frame until it is applied or the replay ends.
Replayer::Next Replayer::apply(const FrameView& frame, Bytes& scratch) {
    if (wait_while_paused() == Next::kEnd) return Next::kEnd;
    if (frame.header.kind != FrameKind::kRecord) {
        applied(frame.header, false);
        return Next::kGoOn;
    }
    const Lsn lsn = frame.header.lsn;
    const auto payload = raw_payload(frame, scratch);
    if (!payload) return damaged(lsn, std::string("a frame cannot be expanded: ") + payload.error().what);
    const auto record = decode_record(*payload);
    if (!record) return damaged(lsn, std::string("a record cannot be understood: ") + record.error().what);
    for (bool admitted = false; !state_.is_done(lsn);) {
        if (wait_while_paused() == Next::kEnd) return Next::kEnd;
        admitted = admitted || brake_.admit(*record, lsn, frame.header.time_ns, [&] { return deletions_behind(lsn); });
        if (!admitted) continue;
        const auto done = applier_.apply(*record, lsn);
        if (done) break;
        forget();  // what is kept open may not be what has the name now
        const auto verdict = judge_ ? judge_(*record, lsn, done.error()) : Verdict::kRetry;
        if (verdict == Verdict::kResync) {
            return ended("record " + std::to_string(lsn.bytes()) + " (" + short_text(*record) +
                         "): " + done.error().text() + ", and others have changed too much for single repairs");
        }
        if (verdict == Verdict::kLeaveOut) {
            hard_errors_.fetch_add(1, std::memory_order_relaxed);
            stalled_text_.clear();
            applied(frame.header, false);
            set_state(ReplayStatus::State::kRunning, "");
            return Next::kGoOn;
        }
        if (stalled(lsn, short_text(*record), done.error().text()) == Next::kEnd) return Next::kEnd;
    }
    if (failed_ahead_ == lsn && stalled_text_.empty()) soft_errors_.fetch_add(1, std::memory_order_relaxed);
    gates_.applied(*record);
    if (crew_ != nullptr) names_changed(*record);
    applied(frame.header, true);
    if (std::holds_alternative<SyncRecord>(*record)) tell();  // somebody may be waiting for it
    return Next::kGoOn;
}

// Files are closed meanwhile, so that they can be executed.
Replayer::Next Replayer::wait_while_paused() {
    if (!brake_.paused()) return stop_ ? Next::kEnd : Next::kGoOn;
    applier_.idle();
    set_state(ReplayStatus::State::kPaused, brake_.text());
    on_progress_();
    for (;;) {
        listener_.disarm();  // a wake-up after this one stays
        if (stop_) return Next::kEnd;
        if (!brake_.paused()) break;
        sleep_on(listener_, -1);
    }
    stalled_text_.clear();
    set_state(ReplayStatus::State::kRunning, "");
    on_progress_();
    return Next::kGoOn;
}

// How many deletions the spool holds from here on, for people.
std::string Replayer::deletions_behind(Lsn lsn) {
    JournalReader reader(spool_, lsn);
    std::uint64_t count = 0;
    Bytes scratch;
    FrameView frame;
    while (!stop_ && reader.next(frame) == JournalReader::Status::kFrame) {
        if (reader.position() - lsn > kMostCountedBytes) return "at least " + std::to_string(count);
        if (frame.header.kind != FrameKind::kRecord) continue;
        const auto payload = raw_payload(frame, scratch);
        const auto record = payload ? decode_record(*payload) : Result<Record, DecodeError>(bad("damaged"));
        if (record && is_deletion(*record)) ++count;
    }
    return std::to_string(count - std::min<std::uint64_t>(count, 1));
}

void Replayer::applied(const FrameHeader& frame, bool is_record) {
    state_.advance(frame.lsn + frame.frame_bytes(), frame.time_ns);
    (is_record ? records_ : skipped_).fetch_add(1, std::memory_order_relaxed);
    bytes_.fetch_add(frame.frame_bytes(), std::memory_order_relaxed);
    files_may_be_open_ = true;
    if (!stalled_text_.empty()) {
        stalled_text_.clear();
        soft_errors_.fetch_add(1, std::memory_order_relaxed);
        spdlog::info("replay goes on lsn={}", frame.lsn.bytes());
        set_state(ReplayStatus::State::kRunning, "");
        on_progress_();
    }
    if (monotonic_ns() - published_ns_ >= kPublishNs) tell();
}

void Replayer::tell() {
    published_ns_ = monotonic_ns();
    on_progress_();
}

Replayer::Next Replayer::wait_for_frames(Lsn position) {
    tell();
    listener_.arm();
    if (spool_.tail() <= position && !stop_ && !gates_.due(position)) {
        if (files_may_be_open_ && !sleep_on(listener_, kIdleMs)) {
            applier_.idle();
            files_may_be_open_ = false;
        }
        if (!files_may_be_open_ && spool_.tail() <= position && !stop_ && !gates_.due(position))
            sleep_on(listener_, -1);
    }
    listener_.disarm();
    return Next::kGoOn;
}

Replayer::Next Replayer::stalled(Lsn lsn, const std::string& what, const std::string& why) {
    const std::string text = "record " + std::to_string(lsn.bytes()) + " (" + what + "): " + why + "; retrying";
    if (text != stalled_text_) {
        stalled_text_ = text;
        pause_ms_ = 0;
        spdlog::warn("replay stalled: {}", text);
        set_state(ReplayStatus::State::kStalled, text);
        on_progress_();
    }
    pause_ms_ = pause_ms_ == 0 ? kFirstPauseMs : std::min(pause_ms_ * 2, kLongestPauseMs);
    retries_.fetch_add(1, std::memory_order_relaxed);
    const auto until = monotonic_ns() + pause_ms_ * 1'000'000ull;
    while (!stop_) {
        const auto now = monotonic_ns();
        if (now >= until || brake_.paused()) return Next::kGoOn;
        listener_.disarm();  // a wake-up that is not the stop
        if (stop_) break;
        sleep_on(listener_, static_cast<int>((until - now) / 1'000'000) + 1);
    }
    return Next::kEnd;
}

Replayer::Next Replayer::damaged(Lsn lsn, const std::string& why) {
    return ended("spool at lsn " + std::to_string(lsn.bytes()) + " (" + spool_.where(lsn) + "): " + why);
}

Replayer::Next Replayer::ended(const std::string& why) {
    const std::string text = why + "; a resync is needed";
    spdlog::error("replay ended: {}", text);
    set_state(ReplayStatus::State::kDamaged, text);
    on_progress_();
    return Next::kEnd;
}

}  // namespace tdfs

#include "slave/replica.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "common/stream/position.hpp"
#include "proto/record.hpp"
#include "slave/replica_inspect.hpp"

namespace tdfs {

namespace {

constexpr auto kLook = std::chrono::milliseconds(50);  // of a waiting client, whether it went away

Unexpected<std::string> trouble(std::string text) { return Unexpected<std::string>(std::move(text)); }

// `frames` are whole and verified.
bool asks_for_sync(ByteView frames) {
    while (!frames.empty()) {
        const auto header = decode_header(frames.first(std::min(frames.size(), kFrameHeaderBytes)));
        if (!header || header->frame_bytes() > frames.size()) return false;
        const bool plain = header->kind == FrameKind::kRecord && header->flags == 0 && header->payload_bytes != 0;
        constexpr std::byte kSync{static_cast<unsigned char>(RecordKind::kSync)};
        if (plain && frames[kFrameHeaderBytes] == kSync) return true;
        frames = frames.subspan(header->frame_bytes());
    }
    return false;
}

}  // namespace

Replica::Replica(int root, StateDir& state, ReplicaOptions options)
    : root_(root),
      state_dir_(state),
      options_(std::move(options)),
      event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      healer_(state.fd(), options_.tolerate),
      identity_(state.identity()) {}

Result<std::unique_ptr<Replica>, std::string> Replica::open(int root, StateDir& state, ReplicaOptions options) {
    std::unique_ptr<Replica> replica(new Replica(root, state, std::move(options)));
    if (!replica->event_) return trouble("no event descriptor: " + Errno::last().text());
    if (auto done = replica->open_salvage(); !done) return Unexpected(done.error());
    if (auto done = replica->look_back(); !done) return Unexpected(done.error());
    auto& r = *replica;
    ApplyOptions apply = r.options_.apply;
    apply.activity = r.activity_.get();
    apply.salvage = r.salvage_.get();
    if (const auto workers = r.options_.apply_workers; workers > 1) {
        r.crew_ = std::make_unique<ApplyCrew>(root, *r.applied_, apply, workers);
    }
    r.applier_ = std::make_unique<Applier>(root, *r.applied_, std::move(apply));
    auto brake = Brake::open(state.fd(), r.options_.delete_limit,
                             [root](std::uint64_t enough) { return count_objects(root, "", enough, kStateName); });
    if (!brake) return Unexpected(brake.error());
    r.brake_ = std::move(*brake);
    JudgeFailure judge;
    if (r.options_.heal) {
        judge = [&r](const Record& record, Lsn lsn, const ApplyError& error) {
            // Names that stand there already may be our own that stayed behind.
            const auto names = Healer::names_of(record);
            const bool known =
                std::any_of(names.begin(), names.end(), [&r](const auto& n) { return r.healer_.has(n); });
            if (!known && !r.applier_->set_aside(record, error)) return Verdict::kRetry;
            return r.healer_.judge(record, lsn, error);
        };
    }
    r.replayer_ = std::make_unique<Replayer>(
        *r.spool_, *r.applied_, *r.applier_, *r.brake_, [&r] { r.replayed(); }, std::move(judge), r.crew_.get());
    r.inspections_ = std::make_unique<Inspections>(
        root, *r.replayer_, r.healer_, r.activity_.get(), r.salvage_.get(), [&r] { r.progressed(); },
        [&r]() -> Result<void, std::string> {
            auto done = r.checkpointer_->make_durable();
            if (!done) r.failed(done.error());
            return done;
        });
    r.brake_->on_change([&r] {
        r.replayer_->wake();
        r.progressed();
    });
    const auto failed = [&r](const std::string& text) { r.failed(text); };
    r.syncer_ = std::make_unique<SpoolSyncer>(*r.spool_, r.options_.checkpoints.sync_every_ms,
                                              SpoolSyncer::Events{[&r] { r.progressed(); }, failed});
    r.checkpointer_ = std::make_unique<Checkpointer>(root, *r.spool_, *r.applied_, r.options_.checkpoints, failed,
                                                     [&r] { return !r.activity_ || r.activity_->upkeep(); });
    return replica;
}

Replica::~Replica() {
    stopping_ = true;
    if (replayer_) stop_threads();
}

Result<void, std::string> Replica::open_salvage() {
    if (options_.keep.bytes == 0) return {};
    const auto root = stat_fd(root_);
    if (!root) return trouble("the replica directory cannot be looked at: " + root.error().text());
    auto activity = ActivityLog::open(state_dir_.fd(), root->object.ino);
    if (!activity) return Unexpected(activity.error());
    activity_ = std::move(*activity);
    if (identity_.boot != boot_id() && !identity_.clean_stop) activity_->went_down();
    salvage_ = std::make_unique<Salvage>(
        root_, options_.keep,
        [this](const FileInfo& info) {
            activity_->mark();  // it may be asked about what it has just changed
            return activity_->is_foreign(info.ctime_ns);
        },
        [](const std::string& line) { spdlog::error("divergent: {}", line); });
    if (const auto kept = salvage_->total(); kept.lines != 0) {
        spdlog::error("divergent: {} changes by others were kept in .tdfs/divergent; its report names them",
                      kept.lines);
    }
    return {};
}

Result<void, std::string> Replica::change_identity(const std::function<void(Identity&)>& change) {
    const std::lock_guard lock(mutex_);
    Identity next = identity_;
    change(next);
    auto done = state_dir_.save(next);
    identity_ = state_dir_.identity();  // also of a save that failed half way: nothing that was written is taken back
    return done;
}

Result<void, std::string> Replica::start() {
    if (auto done = applier_->prepare(); !done) {
        return trouble("the staging area .tdfs/stage cannot be made: " + done.error().text());
    }
    if (mode_ == Mode::kRunning) {
        if (activity_) activity_->begin();
        start_threads();
    }
    return {};
}

void Replica::start_threads() {
    replayer_->start();
    syncer_->start();
    checkpointer_->start();
}

void Replica::stop_threads() {
    replayer_->stop();
    syncer_->stop();
    checkpointer_->stop();
}

Result<void, std::string> Replica::stop() {
    stopping_ = true;
    progress_.notify_all();
    stop_threads();
    // Whether the files will tell it all also after a reboot. Where a resync or damage could not be put on record, they will not.
    bool clean = mode_ == Mode::kFresh;
    if (mode_ == Mode::kRunning) {
        auto done = syncer_->sync_now();
        if (done) done = checkpointer_->checkpoint_now();
        if (!done) {
            failed(done.error());
            return done;
        }
        // What a record that does not apply has done so far, and workers beyond it, is known to processes of this boot only.
        const auto at = applied_->point().lsn;
        clean = !applied_->started(at) && !applied_->is_ahead_of(at);
    } else if (identity_.resyncing) {
        clean = identity_.unsure || make_durable("a stop").has_value();
    }
    if (!clean) spdlog::warn("stopped with something half done: after a reboot a resync will be needed");
    if (activity_) activity_->close();
    if (auto done = spool_->close(); !done) return trouble("the spool cannot be closed: " + done.error().text());
    return change_identity([&](Identity& identity) { identity.clean_stop = clean; });
}

void Replica::progressed() {
    {
        const std::lock_guard lock(mutex_);  // nobody is between looking and waiting
    }
    progress_.notify_all();
    // It can only fail when the counter is full, and then the subscriber is awake anyway.
    const std::uint64_t one = 1;
    static_cast<void>(!::write(event_.get(), &one, sizeof one));
}

// From the replay thread. What it has applied may be all that stands in its way: the spool holds that space.
void Replica::replayed() {
    if (replayer_->status().state == ReplayStatus::State::kStalled) checkpointer_->hurry();
    progressed();
}

Epoch Replica::epoch_of(Lsn lsn) const {
    Epoch epoch;
    for (const auto& start : identity_.history) {
        if (start.first_lsn <= lsn) epoch = start.epoch;
    }
    return epoch;
}

Replica::Shown Replica::shown() const {
    const auto held = brake_->text();
    switch (mode_) {
        case Mode::kFresh:
            return {ReplicaState::kFresh, held};
        case Mode::kResyncing:
            return {ReplicaState::kResyncing, held.empty() ? resync_error_ : held};
        case Mode::kDamaged:
            return {ReplicaState::kDamaged, held.empty() ? damage_ : damage_ + "; " + held};
        case Mode::kRunning:
            break;
    }
    auto replay = replayer_->status();
    if (!held.empty() && replay.state != ReplayStatus::State::kDamaged) return {ReplicaState::kPaused, held};
    switch (replay.state) {
        case ReplayStatus::State::kStalled:
            return {ReplicaState::kStalled, std::move(replay.error)};
        case ReplayStatus::State::kDamaged:
            return {ReplicaState::kDamaged, std::move(replay.error)};
        default:
            break;
    }
    if (no_room_)
        return {ReplicaState::kStalled, "the spool's disk is full: No space left on device; the master waits"};
    if (auto repair = healer_.status(); !repair.paths.empty()) return {ReplicaState::kStalled, std::move(repair.text)};
    return {ReplicaState::kStreaming, ""};
}

Lsn Replica::exact_until(Lsn applied) const { return std::min(applied, healer_.since().value_or(applied)); }

Result<Welcome, std::string> Replica::welcome(const Hello& hello) {
    no_room_ = false;  // nothing waits to be taken yet
    const std::lock_guard lock(mutex_);
    if (identity_.volume.valid() && identity_.volume != hello.volume) {
        return trouble(
            "this replica (" + options_.name + ") belongs to volume " + identity_.volume.text() + ", but " +
            hello.name + " serves volume " + hello.volume.text() +
            "; to give it to that master, stop tdfs_slave, remove .tdfs from the directory and start it with "
            "--adopt");
    }
    Welcome answer;
    answer.format = format_hash();
    answer.volume = identity_.volume;
    answer.name = options_.name;
    answer.state = shown().state;
    if (mode_ == Mode::kResyncing && (is_unsure() || identity_.intact_until != Lsn()))
        answer.state = ReplicaState::kDamaged;  // it was, and is not healed
    if (answer.state == ReplicaState::kDamaged) {
        if (mode_ == Mode::kRunning || is_unsure()) return answer;  // then nobody knows how much is whole
        answer.durable = identity_.intact_until;
        answer.epoch = epoch_of(answer.durable);
    } else if (mode_ == Mode::kResyncing) {
        answer.durable = identity_.resync_since;
        answer.epoch = epoch_of(answer.durable);
    } else if (mode_ == Mode::kRunning) {
        answer.received = spool_->tail();
        answer.durable = spool_->durable();
        answer.applied = exact_until(applied_->point().lsn);
        answer.epoch = epoch_of(answer.received);
    }
    return answer;
}

Result<void, std::string> Replica::resume(const Hello& hello, const Resume& from) {
    Mode mode;
    bool news = false;
    Epoch epoch_of_tail;
    {
        const std::lock_guard lock(mutex_);
        mode = mode_;
        news = identity_.history != hello.history;
        epoch_of_tail = epoch_of(spool_->tail());
    }
    if (mode == Mode::kResyncing) return end_resync(hello, from.from.lsn);
    if (mode != Mode::kRunning) return trouble("this replica needs a resync before it can follow the journal");
    if (from.from.lsn != spool_->tail()) {
        return trouble("the stream would go on at " + std::to_string(from.from.lsn.bytes()) + ", the spool ends at " +
                       std::to_string(spool_->tail().bytes()));
    }
    const JournalSpan master{hello.history, hello.oldest, hello.tail};
    if (auto why = forked(master, epoch_of_tail, spool_->tail())) return trouble("the stream does not fit: " + *why);
    if (!news) return {};
    return change_identity([&](Identity& identity) { identity.history = hello.history; });
}

std::uint64_t Replica::unapplied_bytes() const { return spool_->tail() - applied_->point().lsn; }

bool Replica::accepts() const {
    {
        const std::lock_guard lock(mutex_);
        if (mode_ != Mode::kRunning) return true;
    }
    return unapplied_bytes() <= options_.spool_limit_bytes && has_room();
}

// Whether the spool can take what may come at once. Where it shares the disk with the replica it leaves a segment's worth free:
// replaying the oldest segment takes about as much, and frees that segment. Without anything to replay there is no need.
bool Replica::has_room() const {
    const auto leave = unapplied_bytes() == 0 ? 0 : spool_leaves_bytes_;
    const auto room = spool_->hold_room(kMostReceivedBytes, leave);
    const bool full = !room && room.error().value() == ENOSPC;  // any other error is for receive() to meet
    if (full) checkpointer_->hurry();
    if (no_room_.exchange(full) != full) {
        if (full) spdlog::warn("spool: its disk is full: No space left on device; the master waits");
        if (!full) spdlog::info("spool: there is room again");
        const std::uint64_t one = 1;
        static_cast<void>(!::write(event_.get(), &one, sizeof one));  // the counter is full: it will be seen
    }
    return !full;
}

Result<void, std::string> Replica::receive(ByteView frames) {
    {
        const std::lock_guard lock(mutex_);
        const auto state = shown().state;
        if (state == ReplicaState::kDamaged) return {};  // the master has not heard yet; a resync will bring it
        if (mode_ != Mode::kRunning) return trouble("journal frames came before the resync was through");
    }
    if (auto done = spool_->append(frames); !done)
        return trouble("the spool cannot be written: " + done.error().text());
    checkpointer_->received();
    syncer_->received();
    if (asks_for_sync(frames)) {
        syncer_->request_sync();
        progressed();  // somebody may be waiting for as little as this
    }
    return {};
}

void Replica::heartbeat(Lsn master_tail, std::uint64_t master_time_ns) {
    master_tail_ = master_tail.bytes();
    master_time_ns_ = master_time_ns;
}

Ack Replica::ack() const {
    const std::lock_guard lock(mutex_);
    Ack ack;
    auto now = shown();
    ack.state = now.state;
    ack.error = std::move(now.error);
    if (ack.error.size() > kMaxTextBytes) ack.error.resize(kMaxTextBytes);
    const auto replay = replayer_->status();
    ack.soft_errors = replay.soft_errors;
    ack.hard_errors = replay.hard_errors + inspections_->differences();
    if (mode_ != Mode::kRunning) return ack;
    const auto applied = applied_->point();  // the least first, so that it is never ahead of the others
    ack.applied = exact_until(applied.lsn);
    ack.applied_time_ns = applied.time_ns;
    ack.durable = spool_->durable();
    ack.received = spool_->tail();
    return ack;
}

ReplicaStatus Replica::status() const {
    const std::lock_guard lock(mutex_);
    ReplicaStatus s;
    auto now = shown();
    s.state = now.state;
    s.error = std::move(now.error);
    s.volume = identity_.volume;
    s.master_tail = Lsn(master_tail_);
    s.master_time_ns = master_time_ns_;
    s.spool_bytes = spool_->disk_bytes();
    s.spool_syncs = syncer_->syncs();
    s.replay = replayer_->status();
    s.apply_workers = options_.apply_workers;
    s.soft_errors = s.replay.soft_errors;
    s.hard_errors = s.replay.hard_errors + inspections_->differences();
    s.repairs = healer_.status().paths;
    if (salvage_) s.divergent = salvage_->total();
    s.resyncs = resyncs_;
    s.resync_reason = resync_reason_;
    s.resync_full = resync_full_;
    if (sink_) {
        s.progress = sink_->progress();
        s.resynced = sink_->counts();
    }
    if (mode_ != Mode::kRunning) return s;
    s.applied = applied_->point();
    s.applied.lsn = exact_until(s.applied.lsn);
    s.checkpoint = applied_->durable_point().lsn;
    s.durable = spool_->durable();
    s.received = spool_->tail();
    s.oldest = spool_->oldest();
    s.epoch = epoch_of(s.applied.lsn);
    return s;
}

Replica::Waited Replica::wait_applied(const Position& at, std::chrono::milliseconds timeout,
                                      const std::function<bool()>& cancelled) {
    const auto until = std::chrono::steady_clock::now() + timeout;
    std::unique_lock lock(mutex_);
    for (;;) {
        // An epoch that is not known yet may come with the next connection, or with the resync under way.
        const bool known =
            std::any_of(identity_.history.begin(), identity_.history.end(),
                        [&](const EpochStart& start) { return start.epoch == at.epoch && start.first_lsn <= at.lsn; });
        if (mode_ == Mode::kRunning && known && exact_until(applied_->point().lsn) >= at.lsn) return Waited::kApplied;
        if (cancelled() || stopping_) return Waited::kCancelled;
        const auto now = std::chrono::steady_clock::now();
        if (now >= until) return known ? Waited::kTimedOut : Waited::kUnknown;
        progress_.wait_until(lock, std::min(until, now + kLook));
    }
}

}  // namespace tdfs

// How a resync begins and ends. Each step leaves a state from which the next start goes on correctly:
//   begin   stop replaying; save `resyncing`; forget the applied position; drop the spool; empty the stage
//   end     sync the replica; begin spool and position anew where the stream will; take `resyncing` back; replay
#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "slave/replica.hpp"

namespace tdfs {

namespace {

Unexpected<std::string> cut_short(const char* what, Errno e) {
    return Unexpected<std::string>(std::string(what) + ": " + e.text());
}

// The sink as the subscriber sees it. Shares it with the replica, which shows its progress, and tells why it gave up.
class SinkRequester : public ResyncRequester {
  public:
    using Tell = std::function<void(const std::string& why, bool disk)>;
    SinkRequester(std::shared_ptr<ResyncSink> sink, const Brake& brake, ActivityLog* activity, Tell tell)
        : sink_(std::move(sink)), brake_(brake), activity_(activity), tell_(std::move(tell)) {}
    Result<void, DecodeError> receive(MessageKind kind, ByteView payload) override {
        if (is_held()) return {};
        const ActivityLog::Span at_work(activity_);
        return sink_->receive(kind, payload);
    }
    bool produce(Bytes& out) override {
        if (is_held()) return false;
        const ActivityLog::Span at_work(activity_);
        return sink_->produce(out);
    }
    [[nodiscard]] std::string failed() const override {
        auto why = held_.empty() ? sink_->failed() : held_;
        if (!why.empty()) tell_(why, sink_->disk_failed());
        return why;
    }

  private:
    // For good: an answer that was not taken in does not come again, so this try has to end, even if somebody resumes
    // meanwhile.
    bool is_held() {
        if (held_.empty()) held_ = brake_.text();
        return !held_.empty();
    }

    std::shared_ptr<ResyncSink> sink_;
    const Brake& brake_;
    ActivityLog* const activity_;
    Tell tell_;
    std::string held_;
};

// For a resync that could not even begin.
class FailedRequester : public ResyncRequester {
  public:
    explicit FailedRequester(std::string why) : why_(std::move(why)) {}
    Result<void, DecodeError> receive(MessageKind, ByteView) override { return {}; }
    bool produce(Bytes&) override { return false; }
    [[nodiscard]] std::string failed() const override { return why_; }

  private:
    std::string why_;
};

}  // namespace

std::unique_ptr<ResyncRequester> Replica::start_resync(const Hello& hello, const ResyncStart& start) {
    if (auto held = brake_->text(); !held.empty()) return std::make_unique<FailedRequester>(std::move(held));
    if (auto begun = begin_resync(hello, start); !begun) {
        spdlog::error("resync cannot begin: {}", begun.error());
        resync_failed(begun.error());
        return std::make_unique<FailedRequester>(begun.error());
    }
    ResyncSink::MayRemove may_remove;
    if (brake_->has_limit()) {
        may_remove = [this](const std::string& path, std::uint64_t objects) {
            return brake_->admit_removal(path, objects) ? std::string() : brake_->text();
        };
    }
    ResyncStart how = start;
    {
        const std::lock_guard lock(mutex_);
        how.full = resync_full_;
    }
    std::shared_ptr<ResyncSink> sink;
    {
        const ActivityLog::Span at_work(activity_.get());
        sink = std::make_shared<ResyncSink>(root_, how, std::move(may_remove), salvage_.get());
    }
    {
        const std::lock_guard lock(mutex_);
        sink_ = sink;
    }
    return std::make_unique<SinkRequester>(std::move(sink), *brake_, activity_.get(),
                                           [this](const std::string& why, bool disk) {
                                               if (disk) distrust_content();
                                               resync_failed(why);
                                           });
}

void Replica::resync_failed(const std::string& why) {
    const std::lock_guard lock(mutex_);
    resync_error_ = why;
}

Result<void, std::string> Replica::begin_resync(const Hello& hello, const ResyncStart& start) {
    spdlog::info("resync begins reason=\"{}\" full={}", start.reason, start.full);
    stop_threads();
    if (activity_) {  // what a resync does is on record before a power loss can take the record
        activity_->mark();
        activity_->upkeep();
    }
    {
        const std::lock_guard lock(mutex_);
        mode_ = Mode::kResyncing;
        ++resyncs_;
        resync_reason_ = start.reason;
        resync_error_.clear();
        sink_.reset();
    }
    auto saved = change_identity([&](Identity& identity) {
        // A master that begins an epoch may have lost contents, and kept their sizes and times, that came here in the last.
        const bool other_epoch =
            !identity.history.empty() && identity.history.back().epoch != hello.history.back().epoch;
        const bool goes_on = identity.resyncing && identity.volume == hello.volume && !other_epoch;
        if (!goes_on) identity.resync_since = start.tail;
        identity.unsure =
            identity.unsure || applied_->distrusted() || start.full || (identity.volume.valid() && other_epoch);
        identity.volume = hello.volume;
        identity.history = hello.history;
        identity.resyncing = true;
        if (identity.unsure) identity.intact_until = Lsn();
    });
    if (!saved) return saved;
    {
        const std::lock_guard lock(mutex_);
        resync_full_ = start.full || identity_.unsure;
    }
    if (auto done = applied_->invalidate(); !done) return done;
    healer_.clear();
    // It is of no use any more, and the resync may need the space.
    if (auto done = spool_->reset(spool_->tail()); !done) return cut_short("the spool cannot be emptied", done.error());
    return empty_stage();
}

Result<void, std::string> Replica::empty_stage() {
    const auto state = open_beneath(root_, parent_of(kStagePath), O_PATH | O_DIRECTORY);
    if (!state) return cut_short("open .tdfs", state.error());
    if (auto done = remove_tree_at(state->get(), std::string(leaf_of(kStagePath))); !done) {
        return cut_short("empty .tdfs/stage", done.error());
    }
    applier_->forget();
    if (auto done = applier_->prepare(); !done) return cut_short("make .tdfs/stage", done.error());
    return {};
}

Result<void, std::string> Replica::end_resync(const Hello& hello, Lsn at) {
    if (auto done = empty_stage(); !done) return done;
    if (auto done = make_durable("the end of a resync"); !done) return done;
    if (auto done = spool_->reset(at); !done) return cut_short("the spool cannot be begun anew", done.error());
    if (auto done = applied_->reset({at, wall_clock_ns(), 0}); !done) return done;
    auto saved = change_identity([&](Identity& identity) {
        identity.volume = hello.volume;
        identity.history = hello.history;
        identity.resyncing = identity.unsure = false;
        identity.intact_until = identity.resync_since = Lsn();
        identity.resync_end = at;
    });
    if (!saved) return saved;
    {
        const std::lock_guard lock(mutex_);
        mode_ = Mode::kRunning;
        damage_.clear();
    }
    brake_->resync_done();
    if (activity_) activity_->begin();
    start_threads();
    spdlog::info("resync done lsn={}", at.bytes());
    if (const auto left = status().resynced.xattrs_left; left != 0) {
        spdlog::error(
            "resync objects={} have more extended attributes than one message holds; they were left as they "
            "were: tdfsctl inspect names them",
            left);
    }
    progressed();
    return {};
}

}  // namespace tdfs

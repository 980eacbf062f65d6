#include "tests/unit/slave/spool_fixture.hpp"

#include <chrono>
#include <thread>

#include "proto/frame.hpp"

namespace tdfs::test {

void wait_until(const std::function<bool()>& holds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!holds()) {
        if (std::chrono::steady_clock::now() > until) FAIL("it did not come to that within a minute");
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

Bytes frames_of(const std::vector<Bytes>& records, Lsn first, bool compress) {
    Bytes all;
    for (const auto& r : records) {
        const Bytes frame = make_frame(FrameKind::kRecord, first + all.size(), 1000 + all.size(), r, compress);
        all.insert(all.end(), frame.begin(), frame.end());
    }
    return all;
}

Bytes frame_of(const Record& r, Lsn at) { return frames_of({encoded(r)}, at); }

JournalOptions small_spool() {
    JournalOptions options;
    options.segment_bytes = 64 * 1024;
    return options;
}

std::unique_ptr<Journal> open_spool(int state_dir, Lsn first) {
    auto spool = Journal::open(state_dir, small_spool(), first, true, nullptr);
    if (!spool) FAIL(spool.error().text);
    return std::move(*spool);
}

ReplayBench::ReplayBench(const std::string& root, const std::string& state_dir, ApplyOptions options,
                         const std::optional<DeleteLimit>& limit, unsigned workers)
    : root_fd_(open_dir(root)), state_fd_(open_dir(state_dir)) {
    state_ = need(AppliedState::open(state_fd_.get(), "boot"));
    if (!state_->valid()) need(state_->reset({}));
    spool_ = open_spool(state_fd_.get());
    if (workers > 1) crew_ = std::make_unique<ApplyCrew>(root_fd_.get(), *state_, options, workers);
    applier_ = std::make_unique<Applier>(root_fd_.get(), *state_, std::move(options));
    REQUIRE(applier_->prepare().has_value());
    brake_ = need(Brake::open(state_fd_.get(), limit, [this](std::uint64_t enough) {
        return count_objects(root_fd_.get(), "", enough, kStateName);
    }));
    replayer_ = std::make_unique<Replayer>(
        *spool_, *state_, *applier_, *brake_, [this] { ++told_; }, JudgeFailure(), crew_.get());
    brake_->on_change([this] { replayer_->wake(); });
}

ReplayBench::~ReplayBench() {
    replayer_.reset();
    static_cast<void>(spool_->close());
}

void ReplayBench::receive(const Record& r) { receive(std::vector<Bytes>{encoded(r)}); }

void ReplayBench::receive(const std::vector<Bytes>& records) {
    const auto done = spool_->append(frames_of(records, spool_->tail()));
    if (!done) FAIL(done.error().text());
}

void ReplayBench::wait_applied() {
    wait_until([this] { return state_->point().lsn == spool_->tail(); });
}

}  // namespace tdfs::test

#include "tests/unit/stream/fixture.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "common/os/file.hpp"
#include "proto/record.hpp"

namespace tdfs::test {

std::uint64_t seed() {
    if (const char* given = std::getenv("TDFS_SEED")) return std::strtoull(given, nullptr, 10);
    return std::random_device{}();
}

TestJournal::TestJournal(std::uint64_t segment_bytes, Lsn first) {
    JournalOptions options;
    options.segment_bytes = segment_bytes;
    auto opened = Journal::open(dir_.fd(), options, first, true, nullptr);
    if (!opened) FAIL(opened.error().text);
    journal_ = std::move(*opened);
}

void TestJournal::write(std::size_t frames, std::size_t payload_bytes) {
    std::mt19937_64 noise(written_);
    Bytes payload(payload_bytes);
    for (std::size_t i = 0; i < frames; ++i) {
        for (std::size_t j = 0; j < std::min<std::size_t>(payload.size(), 64); ++j)
            payload[j] = static_cast<std::byte>(noise());
        auto place = journal_->reserve(payload.size(), {});
        REQUIRE(place);
        const ByteView whole(payload);
        if (++written_ % 7 == 0) {
            REQUIRE(journal_->abandon(std::move(*place)));
        } else {
            REQUIRE(journal_->commit(std::move(*place), 0, static_cast<std::uint32_t>(payload.size()), {&whole, 1}));
        }
    }
}

Bytes TestJournal::bytes(Lsn from, Lsn to) {
    Bytes all;
    for (Lsn at = from; at < to;) {
        const auto view = journal_->view(at);
        REQUIRE(view);
        Bytes part(std::min<std::uint64_t>(view->bytes, to - at));
        REQUIRE(read_exact(view->fd, part, view->file_offset));
        all.insert(all.end(), part.begin(), part.end());
        at = at + part.size();
    }
    return all;
}

Publisher::Volume volume() {
    VolumeId id;
    id.bytes[0] = std::byte{0x77};
    return {id, {{kEpoch, kFirst}}};
}

// Counts calls that run at the same time as another one.
struct FakeReplica::Busy {
    explicit Busy(FakeReplica& replica) : replica_(replica) {
        if (replica_.busy_.fetch_add(1) != 0) replica_.overlaps_.fetch_add(1);
    }
    ~Busy() { replica_.busy_.fetch_sub(1); }
    FakeReplica& replica_;
};

class FakeReplica::Requester : public ResyncRequester {
  public:
    explicit Requester(std::string failed) : failed_(std::move(failed)) {}
    Result<void, DecodeError> receive(MessageKind kind, ByteView payload) override {
        if (kind == MessageKind::kListPart) {
            const auto part = decode_ListPart(payload);
            if (!part) return bad(part.error().what);
        } else if (kind != MessageKind::kTouched) {
            return bad("unexpected answer");
        }
        next_ = kind == MessageKind::kListPart ? MessageKind::kRoundDone : MessageKind::kList;
        return {};
    }
    bool produce(Bytes& out) override {
        if (!next_) return false;
        Bytes payload;
        if (*next_ == MessageKind::kList) payload = encode(ListRequest{""});
        const Bytes progress = message(MessageKind::kProgress, encode(Progress{.files_done = 3}), 0);
        const Bytes frame = message(*next_, payload, 0);
        out.insert(out.end(), progress.begin(), progress.end());
        out.insert(out.end(), frame.begin(), frame.end());
        next_.reset();
        return true;
    }
    [[nodiscard]] std::string failed() const override { return failed_; }

  private:
    const std::string failed_;
    std::optional<MessageKind> next_ = MessageKind::kList;
};

FakeReplica::FakeReplica(Lsn at) : state_(ReplicaState::kStreaming), volume_(volume().id), epoch_(kEpoch), begin_(at) {}

Result<Welcome, std::string> FakeReplica::welcome(const Hello& hello) {
    const Busy busy(*this);
    const std::lock_guard lock(mutex_);
    if (!welcome_error_.empty()) return Unexpected(welcome_error_);
    if (volume_.valid() && hello.volume != volume_) return Unexpected(std::string("this replica has another volume"));
    Welcome w;
    w.format = format_hash();
    w.volume = volume_;
    w.epoch = epoch_;
    w.received = w.durable = w.applied = begin_ + spool_.size();
    w.state = state_;
    w.name = "fake";
    return w;
}

Result<void, std::string> FakeReplica::resume(const Hello& hello, const Resume& from) {
    const Busy busy(*this);
    const std::lock_guard lock(mutex_);
    if (state_ == ReplicaState::kResyncing) {
        spool_.clear();
        begin_ = from.from.lsn;
        state_ = ReplicaState::kStreaming;
        volume_ = hello.volume;
    } else if (from.from.lsn != begin_ + spool_.size()) {
        return Unexpected(std::string("that is not where the spool ends"));
    }
    epoch_ = from.from.epoch;
    return {};
}

Result<void, std::string> FakeReplica::receive(ByteView frames) {
    const Busy busy(*this);
    const std::lock_guard lock(mutex_);
    if (!receive_error_.empty()) return Unexpected(receive_error_);
    spool_.insert(spool_.end(), frames.begin(), frames.end());
    event_.wake();
    return {};
}

std::unique_ptr<ResyncRequester> FakeReplica::start_resync(const Hello& /*hello*/, const ResyncStart& start) {
    const Busy busy(*this);
    const std::lock_guard lock(mutex_);
    state_ = ReplicaState::kResyncing;
    reasons_.push_back(start.reason);
    return std::make_unique<Requester>(resync_error_);
}

void FakeReplica::heartbeat(Lsn master_tail, std::uint64_t /*master_time_ns*/) {
    const Busy busy(*this);
    const std::lock_guard lock(mutex_);
    heard_tail_ = master_tail;
}

Ack FakeReplica::ack() const {
    const std::lock_guard lock(mutex_);
    Ack a;
    a.received = a.durable = a.applied = begin_ + spool_.size();
    a.state = state_;
    a.error = error_;
    return a;
}

Bytes FakeReplica::spool() const {
    const std::lock_guard lock(mutex_);
    return spool_;
}

Lsn FakeReplica::spool_begin() const {
    const std::lock_guard lock(mutex_);
    return begin_;
}

Lsn FakeReplica::received() const {
    const std::lock_guard lock(mutex_);
    return begin_ + spool_.size();
}

std::vector<std::string> FakeReplica::resync_reasons() const {
    const std::lock_guard lock(mutex_);
    return reasons_;
}

Lsn FakeReplica::heard_tail() const {
    const std::lock_guard lock(mutex_);
    return heard_tail_;
}

void FakeReplica::set_state(ReplicaState state, std::string error) {
    const std::lock_guard lock(mutex_);
    state_ = state;
    error_ = std::move(error);
    event_.wake();
}

void FakeReplica::refuse_welcome(std::string text) {
    const std::lock_guard lock(mutex_);
    welcome_error_ = std::move(text);
}

void FakeReplica::fail_receive(std::string text) {
    const std::lock_guard lock(mutex_);
    receive_error_ = std::move(text);
}

void FakeReplica::fail_resync(std::string text) {
    const std::lock_guard lock(mutex_);
    resync_error_ = std::move(text);
}

Result<void, DecodeError> FakeResponder::receive(MessageKind kind, ByteView /*payload*/) {
    if (kind == MessageKind::kRoundDone && rounds_-- == 0) {
        finished_ = Position{kEpoch, journal_.tail()};
    } else {
        asked_.push_back(kind);
    }
    return {};
}

bool FakeResponder::produce(Bytes& out) {
    if (asked_.empty()) return false;
    for (const MessageKind kind : asked_) {
        const bool list = kind == MessageKind::kList;
        const Bytes payload = list ? encode(ListPart{.last = true}) : encode(Touched{.last = rounds_ == 0});
        const Bytes frame = message(list ? MessageKind::kListPart : MessageKind::kTouched, payload, 0);
        out.insert(out.end(), frame.begin(), frame.end());
    }
    asked_.clear();
    return true;
}

void eventually(const std::function<bool()>& so) {
    for (int i = 0; i < 12'000 && !so(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    REQUIRE(so());
}

Publisher::MakeResponder responders(TestJournal& journal) {
    return [&journal](const ResyncScope& /*scope*/) { return std::make_unique<FakeResponder>(*journal); };
}

}  // namespace tdfs::test

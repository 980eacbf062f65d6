#include "common/stream/publisher_session.hpp"

#include <algorithm>

#include "common/stream/foreign_text.hpp"
#include "common/stream/position.hpp"
#include "proto/record.hpp"

namespace tdfs {

PublisherSession::PublisherSession(Journal& journal, const Publisher::Volume& volume, const std::string& name,
                                   const Publisher::MakeResponder& make_responder, Instant now,
                                   Publisher::MakeInspector make_inspector)
    : journal_(journal),
      volume_(volume),
      make_responder_(make_responder),
      make_inspector_(std::move(make_inspector)),
      inbox_(8 * 1024, kMaxSlaveMessageBytes),
      last_tick_ns_(now.monotonic_ns),
      last_heard_ns_(now.monotonic_ns),
      last_said_ns_(now.monotonic_ns) {
    Hello hello;
    hello.format = format_hash();
    hello.volume = volume.id;
    hello.history = volume.history;
    hello.oldest = journal.oldest();
    hello.tail = journal.tail();
    hello.name = name;
    outbox_.add(MessageKind::kHello, hello, now);
}

PublisherSession::~PublisherSession() { end_inspections("the link to the slave was lost"); }

void PublisherSession::filled(std::size_t bytes, Instant now) {
    inbox_.filled(bytes);
    last_heard_ns_ = now.monotonic_ns;
    while (!ended_) {
        const auto frame = inbox_.frame();
        if (!frame) return end(false, std::string("the slave sent garbage: ") + frame.error().what);
        if (!frame->complete()) return;
        receive(*frame, now);
        inbox_.consume(frame->bytes.size());
    }
}

void PublisherSession::receive(const FrameView& frame, Instant now) {
    if (frame.header.kind < FrameKind::kFirstSession) return end(false, "the slave sent journal frames");
    const auto payload = raw_payload(frame, scratch_);
    if (!payload) return end(false, std::string("the slave sent garbage: ") + payload.error().what);
    const auto kind = static_cast<MessageKind>(frame.header.kind);
    if (kind == MessageKind::kRefuse) {
        const auto refuse = decode_Refuse(*payload);
        return end(true, refuse ? one_line(refuse->reason) : std::string("the slave refuses, and gives no reason"));
    }
    if (stage_ == Stage::kHandshake) {
        if (kind != MessageKind::kWelcome) return end(false, "the slave did not answer with a welcome");
        return receive_welcome(*payload, now);
    }
    switch (kind) {
        case MessageKind::kHeartbeat:
            return;  // it is busy
        case MessageKind::kAck:
            return receive_ack(*payload);
        case MessageKind::kProgress: {
            const auto progress = decode_Progress(*payload);
            if (!progress) return end(false, std::string("bad progress from the slave: ") + progress.error().what);
            report_.progress = *progress;
            return;
        }
        case MessageKind::kList:
        case MessageKind::kStat:
        case MessageKind::kRange:
        case MessageKind::kXattrs:
        case MessageKind::kRoundDone:
        case MessageKind::kHashes:
        case MessageKind::kLook:
            return receive_question(kind, *payload);
        case MessageKind::kFound:
        case MessageKind::kInspectProgress:
        case MessageKind::kInspectDone:
            return receive_inspection(kind, *payload);
        default:
            return end(false, "the slave sent a message that is not its to send");
    }
}

void PublisherSession::receive_welcome(ByteView payload, Instant now) {
    const auto welcome = decode_Welcome(payload);
    if (!welcome) return end(false, std::string("bad welcome from the slave: ") + welcome.error().what);
    report_.name = one_line(welcome->name);
    if (auto why = refuse_replica(volume_.id, *welcome)) {
        outbox_.add(MessageKind::kRefuse, Refuse{*why}, now);
        return end(true, std::move(*why));
    }
    CatchUp plan = catch_up({volume_.history, journal_.oldest(), journal_.tail()}, *welcome);
    if (plan.resume) {
        // The frame on which a replica stops again and again may be damaged here.
        JournalReader reader(journal_, plan.resume->lsn);
        FrameView first;
        if (reader.next(first) == JournalReader::Status::kDamaged) {
            plan.resume.reset();
            plan.full = true;
            plan.reason = "the master's journal is damaged at lsn " + std::to_string(welcome->received.bytes()) + " (" +
                          journal_.where(welcome->received) + ")";
        }
    }
    if (!plan.resume) {
        resync_ = {std::move(plan.reason), plan.full, plan.since};
        return start_resync(now);
    }
    report_.received = welcome->received;
    report_.durable = std::min(welcome->durable, welcome->received);
    report_.applied = std::min(welcome->applied, welcome->received);
    report_.position_known = true;
    start_stream(*plan.resume, now);
}

void PublisherSession::start_stream(Position from, Instant now) {
    stage_ = Stage::kStream;
    at_ = range_end_ = from.lsn;
    report_.state = PeerStatus::State::kStreaming;
    report_.detail.clear();
    report_.sent = at_;
    outbox_.add(MessageKind::kResume, Resume{from}, now);
    outbox_.add(MessageKind::kHeartbeat, Heartbeat{journal_.tail()}, now);
    last_said_ns_ = now.monotonic_ns;
}

void PublisherSession::start_resync(Instant now) {
    stage_ = Stage::kResync;
    inspector_.reset();
    end_inspections("a resync began: " + resync_.reason);
    const Lsn tail = journal_.tail();  // not later than where the rounds of the resync begin to read
    responder_ = make_responder_(resync_);
    TDFS_INVARIANT(responder_ != nullptr, "a resync without a responder");
    report_.state = PeerStatus::State::kResyncing;
    report_.detail = resync_.reason;
    report_.position_known = false;
    report_.progress = Progress{};
    ++report_.resyncs;
    outbox_.add(MessageKind::kResyncStart, ResyncStart{resync_.reason, responder_->full(), tail}, now);
    last_said_ns_ = now.monotonic_ns;
    resync_ = {};
}

void PublisherSession::receive_ack(ByteView payload) {
    const auto ack = decode_Ack(payload);
    if (!ack) return end(false, std::string("bad acknowledgement from the slave: ") + ack.error().what);
    if (stage_ != Stage::kStream) return;  // about what it had before the resync
    const Lsn received = std::max({ack->received, ack->durable, ack->applied});
    if (received > at_) {
        return end(false, "the slave acknowledges position " + std::to_string(received.bytes()) + ", sent was only " +
                              std::to_string(at_.bytes()));
    }
    ++report_.acks;
    report_.soft_errors = ack->soft_errors;
    report_.hard_errors = ack->hard_errors;
    if (ack->durable > report_.durable) ++report_.durable_acks;
    report_.progressed = report_.progressed || received > report_.received || ack->applied > report_.applied;
    report_.received = received;
    report_.durable = ack->durable;
    report_.applied = ack->applied;
    report_.position_known = true;
    report_.state = ack->state == ReplicaState::kStalled  ? PeerStatus::State::kStalled
                    : ack->state == ReplicaState::kPaused ? PeerStatus::State::kPaused
                                                          : PeerStatus::State::kStreaming;
    report_.detail = one_line(ack->error);
    if (ack->state == ReplicaState::kDamaged) {
        resync_ = {report_.detail.empty() ? "spool damaged" : "spool damaged: " + report_.detail, true, {}};
    }
}

void PublisherSession::receive_question(MessageKind kind, ByteView payload) {
    const bool in_stream = stage_ == Stage::kStream && make_inspector_ != nullptr;
    if (in_stream && !inspector_) inspector_ = make_inspector_();
    if (stage_ != Stage::kResync && !in_stream) return end(false, "the slave asks, but no resync is under way");
    const auto taken = in_stream ? inspector_->receive(kind, payload) : responder_->receive(kind, payload);
    if (!taken) end(false, std::string("bad question from the slave: ") + taken.error().what);
}

void PublisherSession::tick(Instant now) {
    if (ended_) return;
    last_tick_ns_ = now.monotonic_ns;
    if (!outbox_.empty() || !at_boundary()) return;
    if (!resync_.reason.empty()) start_resync(now);
    if (stage_ == Stage::kResync) answer(now);
    if (stage_ == Stage::kStream) serve_inspections(now);
    if (stage_ != Stage::kHandshake && now.monotonic_ns >= last_said_ns_ + kHeartbeatNs) {
        outbox_.add(MessageKind::kHeartbeat, Heartbeat{journal_.tail()}, now);
        last_said_ns_ = now.monotonic_ns;
    }
}

void PublisherSession::nothing_came(Instant now) {
    const std::uint64_t limit_ns = stage_ == Stage::kResync ? kResyncSilenceNs : kSilenceNs;
    if (now.monotonic_ns < last_heard_ns_ + limit_ns) return;
    end(false, "no sign of life from the slave for " + std::to_string(limit_ns / kSecondNs) + " s");
}

void PublisherSession::answer(Instant now) {
    if (!responder_->finished()) responder_->produce(outbox_.bytes());
    const auto from = responder_->finished();
    if (!from || !outbox_.empty()) return;
    report_.hold_ms = responder_->hold_ms();
    report_.received = report_.durable = report_.applied = from->lsn;  // known as soon as the slave says so
    report_.progressed = true;
    responder_.reset();
    start_stream(*from, now);
}

std::uint64_t PublisherSession::next_tick_ns() const {
    if (stage_ == Stage::kResync) return last_tick_ns_ + kResyncTickNs;
    const std::uint64_t silence_ns = last_heard_ns_ + kSilenceNs;
    if (stage_ == Stage::kHandshake || !outbox_.empty() || !at_boundary()) return silence_ns;
    return std::min(silence_ns, last_said_ns_ + kHeartbeatNs);
}

bool PublisherSession::wants_input() const { return stage_ != Stage::kResync || outbox_.empty(); }

std::optional<PublisherSession::JournalWish> PublisherSession::journal_wish() const {
    if (stage_ != Stage::kStream || ended_ || !outbox_.empty()) return std::nullopt;
    if (!at_boundary()) return JournalWish{at_, range_end_ - at_};
    if (!resync_.reason.empty() || journal_.tail() <= at_) return std::nullopt;
    return JournalWish{at_, 0};
}

void PublisherSession::begin_range(std::uint64_t bytes) {
    TDFS_INVARIANT(at_boundary(), "a range begins within another");
    range_end_ = at_ + bytes;
}

void PublisherSession::journal_sent(std::uint64_t bytes) {
    TDFS_INVARIANT(bytes <= range_end_ - at_, "more was sent than the range holds");
    at_ = at_ + bytes;
    report_.sent = at_;
}

void PublisherSession::journal_gone() {
    resync_.reason = "position " + std::to_string(at_.bytes()) + " is older than the journal (oldest " +
                     std::to_string(journal_.oldest().bytes()) + ")";
}

void PublisherSession::end(bool refused, std::string text) {
    if (!ended_) ended_ = SessionEnd{refused, std::move(text)};
}

}  // namespace tdfs

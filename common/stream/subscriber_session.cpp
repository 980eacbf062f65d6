#include "common/stream/subscriber_session.hpp"

#include <algorithm>

#include "common/stream/foreign_text.hpp"
#include "common/stream/position.hpp"
#include "proto/record.hpp"

namespace tdfs {

Result<std::optional<Hello>, DecodeError> read_hello(FrameBuffer& inbox) {
    const auto frame = inbox.frame();
    if (!frame) return bad(frame.error().what);
    if (!frame->complete()) return std::optional<Hello>();
    if (static_cast<MessageKind>(frame->header.kind) != MessageKind::kHello)
        return bad("the first message is no hello");
    if (frame->header.flags != 0) return bad("the hello is compressed");
    if (inbox.buffered() != frame->bytes.size()) return bad("something follows the hello");
    auto hello = decode_Hello(frame->payload);
    if (!hello) return bad(hello.error().what);
    hello->name = one_line(std::move(hello->name));
    return std::optional<Hello>(std::move(*hello));
}

SubscriberSession::SubscriberSession(ReplicaPort& port, Hello hello, Instant now)
    : port_(port),
      hello_(std::move(hello)),
      inbox_(kReceiveBufferBytes, kMaxFrameBytes),
      last_tick_ns_(now.monotonic_ns),
      last_heard_ns_(now.monotonic_ns),
      last_ack_ns_(now.monotonic_ns) {
    if (auto why = refuse_master(hello_)) {
        refuse(std::move(*why), now);
        return;
    }
    auto welcome = port_.welcome(hello_);
    if (!welcome) {
        refuse(std::move(welcome.error()), now);
        return;
    }
    outbox_.add(MessageKind::kWelcome, *welcome, now);
    welcomed_ = true;
}

SubscriberSession::~SubscriberSession() { end_inspections(); }

void SubscriberSession::end_inspections() {
    if (auto* const inspections = port_.inspections(); inspections != nullptr && stage_ == Stage::kStream) {
        inspections->lost();
    }
}

void SubscriberSession::filled(std::size_t bytes, Instant now) {
    inbox_.filled(bytes);
    last_heard_ns_ = now.monotonic_ns;
    digest(now);
}

void SubscriberSession::digest(Instant now) {
    while (!ended_) {
        const auto frame = inbox_.frame();
        if (!frame) return lost(std::string("damaged on the way: ") + frame.error().what);
        if (!frame->complete()) return;
        if (frame->header.kind < FrameKind::kFirstSession) {
            if (!digest_frames(*frame, now)) return;
        } else {
            const std::size_t size = frame->bytes.size();
            receive(*frame, now);
            inbox_.consume(size);
        }
    }
}

// Hands on all journal frames that are here in one piece. False: not now, or never.
bool SubscriberSession::digest_frames(const FrameView& first, Instant now) {
    if (stage_ != Stage::kStream) {
        lost("journal frames outside the stream");
        return false;
    }
    held_back_ = !port_.accepts();
    if (held_back_) return false;
    std::size_t run = 0;
    const char* trouble = nullptr;
    for (FrameView frame = first;;) {
        if (frame.header.lsn != expected_ + run) {
            trouble = "a journal frame has the wrong place";
            break;
        }
        run += frame.bytes.size();
        const auto next = inbox_.frame(run);
        if (!next) {
            trouble = next.error().what;
            break;
        }
        if (!next->complete() || next->header.kind >= FrameKind::kFirstSession) break;
        frame = *next;
    }
    // What came before the trouble is good.
    if (run > 0) {
        const auto taken = port_.receive(inbox_.front(run));
        if (!taken) {
            refuse(taken.error(), now);
            return false;
        }
        expected_ = expected_ + run;
        inbox_.consume(run);
    }
    if (trouble != nullptr) {
        lost("damaged on the way: " + std::string(trouble) + " at " + std::to_string(expected_.bytes()));
        return false;
    }
    return true;
}

void SubscriberSession::receive(const FrameView& frame, Instant now) {
    const auto payload = raw_payload(frame, scratch_);
    if (!payload) return lost(std::string("damaged on the way: ") + payload.error().what);
    const auto kind = static_cast<MessageKind>(frame.header.kind);
    switch (kind) {
        case MessageKind::kRefuse: {
            const auto refuse = decode_Refuse(*payload);
            ended_ = SessionEnd{
                true, refuse ? one_line(refuse->reason) : std::string("the master refuses, and gives no reason")};
            return;
        }
        case MessageKind::kHeartbeat: {
            const auto heartbeat = decode_Heartbeat(*payload);
            if (!heartbeat) return lost(std::string("bad heartbeat: ") + heartbeat.error().what);
            return port_.heartbeat(heartbeat->tail, frame.header.time_ns);
        }
        case MessageKind::kResume:
            return receive_resume(*payload, now);
        case MessageKind::kResyncStart:
            return receive_resync_start(*payload, now);
        case MessageKind::kListPart:
        case MessageKind::kStatReply:
            if (stage_ == Stage::kStream) return receive_inspection(kind, *payload);
            return receive_answer(kind, *payload, now);
        case MessageKind::kInspectStart:
        case MessageKind::kInspectStop:
        case MessageKind::kHashesReply:
        case MessageKind::kLooked:
        case MessageKind::kCannot:
            return receive_inspection(kind, *payload);
        case MessageKind::kRangePart:
        case MessageKind::kRangeEnd:
        case MessageKind::kXattrsReply:
        case MessageKind::kTouched:
            return receive_answer(kind, *payload, now);
        default:
            return lost("the master sent a message that is not its to send");
    }
}

void SubscriberSession::receive_resume(ByteView payload, Instant now) {
    const auto resume = decode_Resume(payload);
    if (!resume) return lost(std::string("bad resume: ") + resume.error().what);
    if (stage_ == Stage::kStream) return lost("a resume within the stream");
    if (resume->from.epoch != hello_.history.back().epoch) return lost("a resume in another epoch than the hello's");
    requester_.reset();
    const auto taken = port_.resume(hello_, *resume);
    if (!taken) return refuse(taken.error(), now);
    stage_ = Stage::kStream;
    expected_ = resume->from.lsn;
    ack_due_ = true;
}

void SubscriberSession::receive_resync_start(ByteView payload, Instant now) {
    auto start = decode_ResyncStart(payload);
    if (!start) return lost(std::string("bad start of a resync: ") + start.error().what);
    start->reason = one_line(std::move(start->reason));
    if (stage_ == Stage::kResync) return lost("a resync within a resync");
    end_inspections();
    stage_ = Stage::kResync;
    requester_ = port_.start_resync(hello_, *start);
    if (requester_ == nullptr) return refuse("the replica cannot be resynced now", now);
    ack_due_ = true;
}

void SubscriberSession::receive_answer(MessageKind kind, ByteView payload, Instant now) {
    if (stage_ != Stage::kResync) return lost("an answer that nobody asked for");
    const auto taken = requester_->receive(kind, payload);
    if (!taken) return lost(std::string("bad answer from the master: ") + taken.error().what);
    if (std::string why = requester_->failed(); !why.empty()) refuse(std::move(why), now);
}

void SubscriberSession::receive_inspection(MessageKind kind, ByteView payload) {
    auto* const inspections = port_.inspections();
    if (stage_ != Stage::kStream || inspections == nullptr) return lost("an answer that nobody asked for");
    const auto taken = inspections->receive(kind, payload);
    if (!taken) lost(std::string("bad answer from the master: ") + taken.error().what);
}

void SubscriberSession::tick(Instant now) {
    last_tick_ns_ = now.monotonic_ns;
    if (ended_) return;
    if (held_back_) {
        last_heard_ns_ = now.monotonic_ns;  // nobody listens
        held_back_ = false;
        digest(now);
        if (ended_) return;
    }
    if (!outbox_.empty()) return;
    if (stage_ == Stage::kResync) {
        requester_->produce(outbox_.bytes());
        if (std::string why = requester_->failed(); !why.empty()) return refuse(std::move(why), now);
    }
    if (stage_ == Stage::kWelcomed) return;
    if (auto* const inspections = port_.inspections(); inspections != nullptr && stage_ == Stage::kStream) {
        inspections->produce(outbox_.bytes());
    }
    if (ack_due_ || now.monotonic_ns >= last_ack_ns_ + kHeartbeatNs) {
        outbox_.add(MessageKind::kAck, port_.ack(), now);
        ack_due_ = false;
        last_ack_ns_ = now.monotonic_ns;
    }
}

void SubscriberSession::nothing_came(Instant now) {
    const std::uint64_t limit_ns = stage_ == Stage::kResync ? kResyncSilenceNs : kSilenceNs;
    if (now.monotonic_ns < last_heard_ns_ + limit_ns) return;
    lost("no sign of life from the master for " + std::to_string(limit_ns / kSecondNs) + " s");
}

std::uint64_t SubscriberSession::next_tick_ns() const {
    if (held_back_) return last_tick_ns_ + kAcceptRetryNs;
    if (stage_ == Stage::kResync && outbox_.empty()) return last_tick_ns_ + kResyncTickNs;
    auto* const inspections = stage_ == Stage::kStream ? port_.inspections() : nullptr;
    if (inspections != nullptr && outbox_.empty() && inspections->busy()) return last_tick_ns_ + kInspectTickNs;
    const std::uint64_t silence_ns = last_heard_ns_ + (stage_ == Stage::kResync ? kResyncSilenceNs : kSilenceNs);
    if (stage_ == Stage::kWelcomed || !outbox_.empty()) return silence_ns;
    return std::min(silence_ns, ack_due_ ? last_tick_ns_ : last_ack_ns_ + kHeartbeatNs);
}

void SubscriberSession::lost(std::string text) {
    if (!ended_) ended_ = SessionEnd{false, std::move(text)};
}

void SubscriberSession::refuse(std::string text, Instant now) {
    if (ended_) return;
    outbox_.add(MessageKind::kRefuse, Refuse{text}, now);
    ended_ = SessionEnd{true, std::move(text)};
}

}  // namespace tdfs

#include "proto/session.hpp"

#include "proto/codec.hpp"
#include "proto/layout.hpp"

namespace tdfs {

// Hashed into format_hash() and quoted in FORMAT.md: change it with the functions below.
std::string_view session_layout() {
    return "session: one message per frame\n"
           "  hello=64: version:u32 format:u64 features:u64 volume oldest:lsn tail:lsn name:text history:list(epoch "
           "lsn)\n"
           "  welcome=65: version:u32 format:u64 features:u64 volume epoch received:lsn durable:lsn applied:lsn state "
           "name:text\n"
           "  refuse=66: reason:text\n"
           "  resume=67: epoch lsn\n"
           "  heartbeat=68: tail:lsn\n"
           "  ack=69: received:lsn durable:lsn applied:lsn state applied_time_ns:u64 error:text "
           "soft_errors:u64 hard_errors:u64\n"
           "  state:u8 fresh=0 streaming=1 resyncing=2 stalled=3 damaged=4 paused=5\n"
           "  epoch:u64 lsn:u64 volume:16 bytes; text: u16+bytes <= 4096; list: u32 count; history <= 4096\n";
}

namespace {

constexpr std::size_t kEpochStartBytes = 16;

template <class C, class M>
void preamble(C& c, M& m) {
    c.number(m.version);
    c.number(m.format);
    c.number(m.features);
}

}  // namespace

template <class C>
static void fields(C& c, typename C::template Value<Hello>& m) {
    preamble(c, m);
    c.volume(m.volume);
    c.lsn(m.oldest);
    c.lsn(m.tail);
    c.text(m.name);
    c.count(m.history, kMaxEpochs, kEpochStartBytes);
    Lsn before;
    for (auto& step : m.history) {
        c.epoch(step.epoch);
        c.lsn(step.first_lsn);
        c.require(step.epoch.valid() && step.first_lsn >= before, "history out of order");
        before = step.first_lsn;
    }
}

template <class C>
static void fields(C& c, typename C::template Value<Welcome>& m) {
    preamble(c, m);
    c.volume(m.volume);
    c.epoch(m.epoch);
    c.lsn(m.received);
    c.lsn(m.durable);
    c.lsn(m.applied);
    c.one_of(m.state, ReplicaState::kPaused);
    c.text(m.name);
}

template <class C>
static void fields(C& c, typename C::template Value<Refuse>& m) {
    c.text(m.reason);
}

template <class C>
static void fields(C& c, typename C::template Value<Resume>& m) {
    c.epoch(m.from.epoch);
    c.lsn(m.from.lsn);
}

template <class C>
static void fields(C& c, typename C::template Value<Heartbeat>& m) {
    c.lsn(m.tail);
}

template <class C>
static void fields(C& c, typename C::template Value<Ack>& m) {
    c.lsn(m.received);
    c.lsn(m.durable);
    c.lsn(m.applied);
    c.one_of(m.state, ReplicaState::kPaused);
    c.number(m.applied_time_ns);
    c.text(m.error);
    c.number(m.soft_errors);
    c.number(m.hard_errors);
}

namespace {

// Hello and Welcome of a peer of another version or format need not decode further than their first fields, which
// never change: what comes back says enough to refuse the peer in words.
template <class M>
Result<M, DecodeError> decode_greeting(ByteView payload) {
    auto whole = decode_fields<M>(payload);
    if (whole) return whole;
    Decoder decoder(payload);
    M first;
    preamble(decoder, first);
    const bool ours = first.version == kProtocolVersion && first.format == format_hash();
    if (ours || !decoder.ok()) return whole;
    return first;
}

}  // namespace

const char* to_text(ReplicaState s) {
    switch (s) {
        case ReplicaState::kFresh:
            return "fresh";
        case ReplicaState::kStreaming:
            return "streaming";
        case ReplicaState::kResyncing:
            return "resyncing";
        case ReplicaState::kStalled:
            return "stalled";
        case ReplicaState::kDamaged:
            return "damaged";
        case ReplicaState::kPaused:
            return "paused";
    }
    return "unknown";
}

Bytes encode(const Hello& m) {
    if (m.history.size() <= kMaxEpochs) return encode_fields(m);
    Hello newest = m;
    const auto surplus = static_cast<std::ptrdiff_t>(m.history.size() - kMaxEpochs);
    newest.history.erase(newest.history.begin(), newest.history.begin() + surplus);
    return encode_fields(newest);
}
Bytes encode(const Welcome& m) { return encode_fields(m); }
Bytes encode(const Refuse& m) { return encode_fields(m); }
Bytes encode(const Resume& m) { return encode_fields(m); }
Bytes encode(const Heartbeat& m) { return encode_fields(m); }
Bytes encode(const Ack& m) { return encode_fields(m); }

Result<Hello, DecodeError> decode_Hello(ByteView payload) { return decode_greeting<Hello>(payload); }
Result<Welcome, DecodeError> decode_Welcome(ByteView payload) { return decode_greeting<Welcome>(payload); }
Result<Refuse, DecodeError> decode_Refuse(ByteView payload) { return decode_fields<Refuse>(payload); }
Result<Resume, DecodeError> decode_Resume(ByteView payload) { return decode_fields<Resume>(payload); }
Result<Heartbeat, DecodeError> decode_Heartbeat(ByteView payload) { return decode_fields<Heartbeat>(payload); }
Result<Ack, DecodeError> decode_Ack(ByteView payload) { return decode_fields<Ack>(payload); }

Bytes message(MessageKind kind, ByteView payload, std::uint64_t now_ns, bool compress) {
    return make_frame(static_cast<FrameKind>(kind), Lsn(), now_ns, payload, compress);
}

}  // namespace tdfs

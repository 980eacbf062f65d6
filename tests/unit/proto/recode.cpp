#include "tests/unit/proto/recode.hpp"

#include "proto/record.hpp"

namespace tdfs::test {

namespace {

template <class M>
std::optional<Bytes> recode_as(Result<M, DecodeError> (*decode)(ByteView), ByteView payload) {
    const auto decoded = decode(payload);
    if (!decoded) return std::nullopt;
    return encode(*decoded);
}

}  // namespace

std::optional<Bytes> recode(MessageKind kind, ByteView payload) {
    switch (kind) {
        case MessageKind::kHello:
            return recode_as(decode_Hello, payload);
        case MessageKind::kWelcome:
            return recode_as(decode_Welcome, payload);
        case MessageKind::kRefuse:
            return recode_as(decode_Refuse, payload);
        case MessageKind::kResume:
            return recode_as(decode_Resume, payload);
        case MessageKind::kHeartbeat:
            return recode_as(decode_Heartbeat, payload);
        case MessageKind::kAck:
            return recode_as(decode_Ack, payload);
        case MessageKind::kResyncStart:
            return recode_as(decode_ResyncStart, payload);
        case MessageKind::kList:
            return recode_as(decode_ListRequest, payload);
        case MessageKind::kListPart:
            return recode_as(decode_ListPart, payload);
        case MessageKind::kStat:
            return recode_as(decode_StatRequest, payload);
        case MessageKind::kStatReply:
            return recode_as(decode_StatReply, payload);
        case MessageKind::kRange:
            return recode_as(decode_RangeRequest, payload);
        case MessageKind::kRangePart:
            return recode_as(decode_RangePart, payload);
        case MessageKind::kRangeEnd:
            return recode_as(decode_RangeEnd, payload);
        case MessageKind::kXattrs:
            return recode_as(decode_XattrsRequest, payload);
        case MessageKind::kXattrsReply:
            return recode_as(decode_XattrsReply, payload);
        case MessageKind::kTouched:
            return recode_as(decode_Touched, payload);
        case MessageKind::kProgress:
            return recode_as(decode_Progress, payload);
        case MessageKind::kInspectStart:
            return recode_as(decode_InspectStart, payload);
        case MessageKind::kInspectStop:
            return recode_as(decode_InspectStop, payload);
        case MessageKind::kHashes:
            return recode_as(decode_HashesRequest, payload);
        case MessageKind::kHashesReply:
            return recode_as(decode_HashesReply, payload);
        case MessageKind::kLook:
            return recode_as(decode_Look, payload);
        case MessageKind::kLooked:
            return recode_as(decode_Looked, payload);
        case MessageKind::kCannot:
            return recode_as(decode_Cannot, payload);
        case MessageKind::kFound:
            return recode_as(decode_Findings, payload);
        case MessageKind::kInspectProgress:
            return recode_as(decode_InspectProgress, payload);
        case MessageKind::kInspectDone:
            return recode_as(decode_InspectDone, payload);
        case MessageKind::kRoundDone:
            break;
    }
    return payload.empty() ? std::optional<Bytes>(Bytes()) : std::nullopt;
}

bool is_exact(MessageKind kind, ByteView payload) {
    if (kind != MessageKind::kHello && kind != MessageKind::kWelcome) return true;
    ByteReader in(payload);
    const auto version = in.get<std::uint32_t>();
    return version == kProtocolVersion && in.get<std::uint64_t>() == format_hash();
}

}  // namespace tdfs::test

#include "tests/unit/proto/random_messages.hpp"

#include <algorithm>
#include <map>

namespace tdfs::test {

namespace {

Lsn lsn(Random& random) { return Lsn(random.number()); }

VolumeId volume(Random& random) { return random.coin() ? VolumeId::random() : VolumeId(); }

ReplicaState state(Random& random) { return static_cast<ReplicaState>(random.below(6)); }

Hello hello(Random& random) {
    Hello m;
    m.format = format_hash();
    m.features = random.number();
    m.volume = volume(random);
    m.oldest = lsn(random);
    m.tail = lsn(random);
    m.name = random.bytes(50);
    for (auto n = random.below(20); n > 0; --n) m.history.push_back({Epoch(random.number() | 1), lsn(random)});
    std::sort(m.history.begin(), m.history.end(), [](auto a, auto b) { return a.first_lsn < b.first_lsn; });
    return m;
}

Welcome welcome(Random& random) {
    Welcome m;
    m.format = format_hash();
    m.features = random.number();
    m.volume = volume(random);
    m.epoch = Epoch(random.number());
    m.received = lsn(random);
    m.durable = lsn(random);
    m.applied = lsn(random);
    m.state = state(random);
    m.name = random.bytes(50);
    return m;
}

Ack ack(Random& random) {
    Ack m{lsn(random), lsn(random), lsn(random), state(random), random.number(), {}, random.number(), random.number()};
    m.error = random.bytes(100);
    return m;
}

Entry entry(Random& random, std::string name) {
    Entry m;
    m.name = std::move(name);
    m.object = random.object();
    m.links = random.number32();
    m.mode = random.number32();
    m.uid = random.number32();
    m.gid = random.number32();
    m.rdev = random.number();
    m.size = random.file_offset();
    m.mtime_ns = static_cast<std::int64_t>(random.number());
    m.xattr_hash = random.number();
    if (random.coin()) m.target = random.name();
    return m;
}

ListPart list_part(Random& random) {
    ListPart m{random.coin(), random.coin(), {}};
    std::map<std::string, Entry> sorted;
    for (auto n = random.below(20); n > 0; --n) {
        auto name = random.name();
        sorted.emplace(name, entry(random, name));
    }
    for (auto& [name, e] : sorted) m.entries.push_back(e);
    return m;
}

RangeRequest range(Random& random) {
    RangeRequest m{random.path(), random.object(), random.below(1000) * kResyncBlockBytes, 0, {}};
    m.blocks = static_cast<std::uint32_t>(random.below(kMaxRangeBlocks + 1));
    for (auto n = random.below(m.blocks + 1); n > 0; --n) m.hashes.emplace_back(random.number(), random.number());
    return m;
}

RangePart range_part(Random& random) {
    RangePart m{random.file_offset(), random.coin() ? random.file_offset() : 0, {}};
    if (m.hole_bytes == 0) m.data = copy(view(random.bytes(3000)));
    return m;
}

XattrsReply xattrs_reply(Random& random) {
    XattrsReply m{random.coin(), random.coin(), {}};
    std::map<std::string, Bytes> sorted;
    for (auto n = random.below(10); n > 0; --n) sorted[random.xattr_name()] = copy(view(random.bytes(200)));
    m.xattrs.assign(sorted.begin(), sorted.end());
    return m;
}

Touched touched(Random& random) {
    Touched m{random.coin(), random.coin(), random.coin(), {}};
    for (auto n = random.below(10); n > 0; --n) {
        TouchedPath path{random.path(), random.object(), random.coin(), random.coin(), {}};
        for (auto k = random.below(5); k > 0; --k) path.ranges.emplace_back(random.file_offset(), random.file_offset());
        m.paths.push_back(path);
    }
    return m;
}

Progress progress(Random& random) {
    return {random.number(), random.number(), random.number(), random.number(), random.coin(), random.number32()};
}

std::uint64_t block_offset(Random& random) { return random.below(1u << 20) * kResyncBlockBytes; }

InspectStart inspect_start(Random& random) {
    InspectStart m{random.number32(), random.coin(), random.coin(), random.number(), {}};
    for (auto n = random.below(5); n > 0; --n) m.paths.push_back(random.path());
    return m;
}

HashesReply hashes_reply(Random& random) {
    HashesReply m{random.coin(), random.file_offset(), {}};
    for (auto n = random.below(kMaxHashesBlocks + 1); n > 0; --n)
        m.hashes.emplace_back(random.number(), random.number());
    return m;
}

Look look(Random& random) {
    Look m;
    for (auto n = random.below(6); n > 0; --n) {
        LookItem item{random.path(), random.coin(), {}};
        for (auto k = random.below(kMaxDetailedBlocks + 1); k > 0; --k) item.blocks.push_back(block_offset(random));
        m.items.push_back(item);
    }
    return m;
}

Looked looked(Random& random) {
    Looked m{lsn(random), random.coin(), {}};
    for (auto n = random.below(4); n > 0; --n) {
        LookedItem item;
        if (random.coin()) item.entry = entry(random, {});
        item.settled = random.coin();
        for (auto k = random.below(4); k > 0; --k) item.hashes.emplace_back(random.number(), random.number());
        for (auto k = random.below(4); k > 0; --k) item.parts.push_back(range_part(random));
        item.too_many_xattrs = random.coin();
        item.xattrs = xattrs_reply(random).xattrs;
        m.items.push_back(item);
    }
    return m;
}

Findings found(Random& random) {
    Findings m{random.number32(), {}};
    for (auto n = random.below(5); n > 0; --n) {
        m.findings.push_back({random.path(), random.number32() & difference::kAll, random.coin(), random.bytes(50)});
    }
    return m;
}

InspectCounts counts(Random& random) {
    return {random.number(), random.number(), random.number(), random.number(), random.number()};
}

}  // namespace

Bytes random_message(MessageKind kind, Random& random) {
    switch (kind) {
        case MessageKind::kHello:
            return encode(hello(random));
        case MessageKind::kWelcome:
            return encode(welcome(random));
        case MessageKind::kRefuse:
            return encode(Refuse{random.bytes(200)});
        case MessageKind::kResume:
            return encode(Resume{{Epoch(random.number()), lsn(random)}});
        case MessageKind::kHeartbeat:
            return encode(Heartbeat{lsn(random)});
        case MessageKind::kAck:
            return encode(ack(random));
        case MessageKind::kResyncStart:
            return encode(ResyncStart{random.bytes(80), random.coin(), lsn(random)});
        case MessageKind::kList:
            return encode(ListRequest{random.path()});
        case MessageKind::kListPart:
            return encode(list_part(random));
        case MessageKind::kStat:
            return encode(StatRequest{random.path()});
        case MessageKind::kStatReply: {
            StatReply m;
            if (random.coin()) m.entry = entry(random, random.coin() ? random.name() : std::string());
            return encode(m);
        }
        case MessageKind::kRange:
            return encode(range(random));
        case MessageKind::kRangePart:
            return encode(range_part(random));
        case MessageKind::kRangeEnd:
            return encode(RangeEnd{random.coin(), random.file_offset()});
        case MessageKind::kXattrs:
            return encode(XattrsRequest{random.path(), random.object()});
        case MessageKind::kXattrsReply:
            return encode(xattrs_reply(random));
        case MessageKind::kTouched:
            return encode(touched(random));
        case MessageKind::kProgress:
            return encode(progress(random));
        case MessageKind::kInspectStart:
            return encode(inspect_start(random));
        case MessageKind::kInspectStop:
            return encode(InspectStop{random.number32()});
        case MessageKind::kHashes:
            return encode(HashesRequest{random.path(), random.object(), block_offset(random),
                                        static_cast<std::uint32_t>(random.below(kMaxHashesBlocks + 1))});
        case MessageKind::kHashesReply:
            return encode(hashes_reply(random));
        case MessageKind::kLook:
            return encode(look(random));
        case MessageKind::kLooked:
            return encode(looked(random));
        case MessageKind::kCannot:
            return encode(Cannot{random.bytes(100)});
        case MessageKind::kFound:
            return encode(found(random));
        case MessageKind::kInspectProgress:
            return encode(InspectProgress{random.number32(), counts(random), random.number32(), random.bytes(50)});
        case MessageKind::kInspectDone:
            return encode(InspectDone{random.number32(), counts(random), random.bytes(50)});
        case MessageKind::kRoundDone:
            break;
    }
    return {};
}

}  // namespace tdfs::test

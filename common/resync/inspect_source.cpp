// How a Look comes about: the blocks are read once without a hold, so that they are in memory; then writers are held,
// everything is read, writers go on. So the hold takes as long as some hundred stats and the hashing of a few blocks.
#include "common/resync/inspect_source.hpp"

#include <fcntl.h>

#include <chrono>
#include <deque>
#include <variant>

#include "common/resync/answerer.hpp"
#include "common/resync/hold.hpp"
#include "proto/path.hpp"
#include "proto/session.hpp"

namespace tdfs {
namespace {

constexpr std::size_t kAnswerBytes = 256 * 1024;
constexpr std::uint64_t kAnswerNs = 20'000'000;

using InspectQuestion = std::variant<ListRequest, StatRequest, HashesRequest, Look>;

template <class Request>
Result<InspectQuestion, DecodeError> inspect_question(Result<Request, DecodeError> decoded) {
    if (!decoded) return Unexpected<DecodeError>(decoded.error());
    return InspectQuestion(std::move(*decoded));
}

Result<InspectQuestion, DecodeError> decode_inspect_question(MessageKind kind, ByteView payload) {
    switch (kind) {
        case MessageKind::kList:
            return inspect_question(decode_ListRequest(payload));
        case MessageKind::kStat:
            return inspect_question(decode_StatRequest(payload));
        case MessageKind::kHashes:
            return inspect_question(decode_HashesRequest(payload));
        case MessageKind::kLook:
            return inspect_question(decode_Look(payload));
        default:
            return bad("not a question of an inspection");
    }
}

}  // namespace

class InspectSource::Impl {
  public:
    explicit Impl(InspectSourceParts parts)
        : parts_(std::move(parts)), hold_ms_(parts_.hold_limit_ms), answerer_(parts_.root) {}

    Result<void, DecodeError> receive(MessageKind kind, ByteView payload) {
        auto decoded = decode_inspect_question(kind, payload);
        if (!decoded) return Unexpected<DecodeError>(decoded.error());
        if (questions_.size() >= kMaxQuestions) return bad("too many questions at once");
        questions_.push_back(std::move(*decoded));
        return {};
    }

    bool produce(Bytes& out) {
        const auto before = out.size();
        const auto until = monotonic_ns() + kAnswerNs;
        while (!questions_.empty() && out.size() - before < kAnswerBytes && monotonic_ns() < until) {
            const auto done = std::visit([&](const auto& q) { return answer(q, out); }, questions_.front());
            if (!done) {
                Answerer::say(out, MessageKind::kCannot, Cannot{done.error()});
                answerer_.abandon();
            }
            if (!done || *done == Answerer::Progressed::kDone) questions_.pop_front();
        }
        return out.size() != before;
    }

  private:
    using Progressed = Answerer::Progressed;
    using Step = Answerer::Step;

    Step answer(const ListRequest& q, Bytes& out) { return answerer_.answer(q, out); }
    Step answer(const StatRequest& q, Bytes& out) { return answerer_.answer(q, out); }

    Step answer(const HashesRequest& q, Bytes& out) {
        HashesReply reply;
        const auto fd = file_.get(answerer_.backing(), q.path, q.object);
        if (!fd) return Unexpected<Unreadable>(fd.error());
        reply.gone = *fd < 0;
        if (!reply.gone) {
            const auto info = stat_fd(*fd);
            if (!info) return unreadable(q.path, info.error());
            reply.size = info->size;
            const auto end = std::min(reply.size, q.offset + q.blocks * kResyncBlockBytes);
            BlockReader reader(*fd, q.offset, std::max(end, q.offset));
            BlockReader::Block block;
            for (;;) {
                const auto more = reader.next(block);
                if (!more) return unreadable(q.path, more.error());
                if (!*more) break;
                const auto hash = BlockReader::content_hash(block);
                reply.hashes.emplace_back(hash.low, hash.high);
            }
        }
        Answerer::say(out, MessageKind::kHashesReply, reply);
        return Progressed::kDone;
    }

    Step answer(const Look& q, Bytes& out) {
        for (const auto& item : q.items) {
            if (item.blocks.empty()) continue;
            if (auto warm = look(item); !warm) return Unexpected<Unreadable>(warm.error());
        }
        Looked reply;
        TimedHold hold(parts_.writers, std::chrono::milliseconds(hold_ms_));
        reply.lsn = hold.lsn();
        if (auto why = ahead_of_history(parts_.journal); !why.empty()) return Unexpected<Unreadable>(std::move(why));
        std::size_t bytes = 0;
        std::string trouble;
        for (const auto& item : q.items) {
            auto looked = look(item);
            if (!looked) {
                trouble = looked.error();
                break;
            }
            bytes += size_of(*looked);
            if (bytes > kMaxLookBytes && !reply.items.empty()) break;
            reply.items.push_back(std::move(*looked));
        }
        reply.held = hold.end();
        if (!trouble.empty()) return Unexpected<Unreadable>(trouble);
        if (!reply.held) reply.items.clear();
        // On a machine that is busy enough one item alone may take longer, each time.
        const bool too_short = !reply.held && q.items.size() <= 2;
        hold_ms_ = too_short ? std::min(2 * std::max(hold_ms_, 1u), parts_.longest_hold_ms) : parts_.hold_limit_ms;
        Answerer::say(out, MessageKind::kLooked, reply);
        return Progressed::kDone;
    }

    Answer<LookedItem> look(const LookItem& item) {
        LookedItem out;
        auto entry = stat_answer(answerer_.backing(), item.path);
        if (!entry) return Unexpected<Unreadable>(entry.error());
        out.entry = std::move(*entry);
        if (!out.entry) return out;
        out.settled = !parts_.unsettled(out.entry->object);
        if (item.details && out.entry->xattr_hash != 0) {
            auto xattrs = xattrs_answer(answerer_.backing(), {item.path, out.entry->object});
            if (!xattrs) return Unexpected<Unreadable>(xattrs.error());
            out.too_many_xattrs = xattrs->too_many;
            out.xattrs = std::move(xattrs->xattrs);
        }
        if (item.blocks.empty() || !S_ISREG(out.entry->mode)) return out;
        RangeFile file;
        const auto fd = file.get(answerer_.backing(), item.path, out.entry->object);
        if (!fd) return Unexpected<Unreadable>(fd.error());
        if (*fd < 0) return out;
        for (const auto offset : item.blocks) {
            BlockReader reader(*fd, offset, std::clamp(out.entry->size, offset, offset + kResyncBlockBytes));
            BlockReader::Block block;
            const auto more = reader.next(block);
            if (!more) return unreadable(item.path, more.error());
            const auto hash = *more ? BlockReader::content_hash(block) : BlockHash{};
            out.hashes.emplace_back(hash.low, hash.high);
            if (*more && item.details) add_parts(block, out.parts);
        }
        return out;
    }

    static void add_parts(const BlockReader::Block& block, std::vector<RangePart>& parts) {
        std::size_t at = 0;
        for (const auto& extent : block.extents) {
            RangePart part;
            part.offset = extent.offset;
            if (extent.data) {
                const auto bytes = block.bytes.subspan(at, extent.length);
                part.data.assign(bytes.begin(), bytes.end());
                at += extent.length;
            } else {
                part.hole_bytes = extent.length;
            }
            parts.push_back(std::move(part));
        }
    }

    static std::size_t size_of(const LookedItem& item) {
        std::size_t bytes = 128 + 16 * item.hashes.size();
        if (item.entry) bytes += item.entry->target.size();
        for (const auto& part : item.parts) bytes += 20 + part.data.size();
        for (const auto& [name, value] : item.xattrs) bytes += 6 + name.size() + value.size();
        return bytes;
    }

    static Unexpected<Unreadable> unreadable(const std::string& path, Errno e) {
        return Unexpected<Unreadable>("the master cannot read " + printable(path) + ": " + e.text());
    }

    const InspectSourceParts parts_;
    std::uint32_t hold_ms_;  // of the next look
    Answerer answerer_;
    RangeFile file_;  // hashes of one file come one after the other
    std::deque<InspectQuestion> questions_;
};

InspectSource::InspectSource(InspectSourceParts parts) : impl_(std::make_unique<Impl>(std::move(parts))) {}
InspectSource::~InspectSource() = default;
Result<void, DecodeError> InspectSource::receive(MessageKind kind, ByteView payload) {
    return impl_->receive(kind, payload);
}
bool InspectSource::produce(Bytes& out) { return impl_->produce(out); }

}  // namespace tdfs

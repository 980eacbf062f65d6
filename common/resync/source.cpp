// How an answer comes about: receive() decodes a question and queues it; produce() works on the question in front,
// a part at a time, until about 1 MiB is ready. In between it reads on in the journal (Rounds::follow).
#include "common/resync/source.hpp"

#include <deque>
#include <variant>

#include "common/resync/answerer.hpp"
#include "common/resync/rounds.hpp"
#include "proto/session.hpp"

namespace tdfs {
namespace {

constexpr std::size_t kAnswerBytesOfOneCall = 1024 * 1024;
constexpr std::size_t kTouchedBytes = 64;  // of an encoded TouchedPath without its path and ranges, at most

using Question = std::variant<ListRequest, StatRequest, RangeRequest, XattrsRequest, RoundDone>;

template <class Request>
Result<Question, DecodeError> question(Result<Request, DecodeError> decoded) {
    if (!decoded) return Unexpected<DecodeError>(decoded.error());
    return Question(std::move(*decoded));
}

Result<Question, DecodeError> decode_question(MessageKind kind, ByteView payload) {
    switch (kind) {
        case MessageKind::kList:
            return question(decode_ListRequest(payload));
        case MessageKind::kStat:
            return question(decode_StatRequest(payload));
        case MessageKind::kRange:
            return question(decode_RangeRequest(payload));
        case MessageKind::kXattrs:
            return question(decode_XattrsRequest(payload));
        case MessageKind::kRoundDone:
            return Question(RoundDone{});
        default:
            return bad("not a question of a resync");
    }
}

}  // namespace

class ResyncSource::Impl {
  public:
    Impl(int root, Journal& journal, std::optional<Lsn> since, Epoch epoch, WriterHold& writers,
         const ResyncLimits& limits)
        : ahead_(root), answerer_(root, ahead_), rounds_(answerer_.backing(), journal, since, epoch, writers, limits) {}

    Result<void, DecodeError> receive(MessageKind kind, ByteView payload) {
        if (kind == MessageKind::kProgress) return {};
        auto decoded = decode_question(kind, payload);
        if (!decoded) return Unexpected<DecodeError>(decoded.error());
        if (questions_.size() >= kMaxQuestions) return bad("too many questions at once");
        if (const auto* list = std::get_if<ListRequest>(&*decoded)) ahead_.soon(list->path);
        questions_.push_back(std::move(*decoded));
        return {};
    }

    bool produce(Bytes& out) {
        if (failed_) return false;
        const auto before = out.size();
        if (const auto followed = rounds_.follow(); !followed) return refuse(out, followed.error());
        while (!questions_.empty() && out.size() - before < kAnswerBytesOfOneCall) {
            const auto done = std::visit([&](auto& q) { return answer(q, out); }, questions_.front());
            if (!done) return refuse(out, done.error());
            if (*done == Progressed::kLater) return true;
            if (*done == Progressed::kDone) questions_.pop_front();
        }
        return out.size() != before;
    }

    [[nodiscard]] const Rounds& rounds() const { return rounds_; }

  private:
    using Progressed = Answerer::Progressed;
    using Step = Answerer::Step;

    bool refuse(Bytes& out, const Unreadable& why) {
        failed_ = true;
        Answerer::say(out, MessageKind::kRefuse, Refuse{why});
        return true;
    }

    template <class Request>
    Step answer(const Request& q, Bytes& out) {
        return answerer_.answer(q, out);
    }

    Step answer(const RoundDone&, Bytes& out) {
        if (!round_) {
            if (rounds_.end_hold()) return Progressed::kDone;  // the rest is the publisher's Resume
            const auto at_tail = rounds_.follow();
            if (!at_tail) return Unexpected<Unreadable>(at_tail.error());
            if (!*at_tail) return Progressed::kLater;
            auto next = rounds_.next();
            if (!next) return Unexpected<Unreadable>(next.error());
            round_ = std::move(*next);
            touched_sent_ = 0;
            answerer_.close_files();
        }
        Touched m;
        m.last = round_->last;
        m.links = round_->links;
        for (std::size_t bytes = 0; touched_sent_ < round_->paths.size() && bytes < kMaxTouchedBytes; ++touched_sent_) {
            TouchedPath& t = round_->paths[touched_sent_];
            bytes += kTouchedBytes + t.path.size() + 16 * t.ranges.size();
            m.paths.push_back(std::move(t));
        }
        m.more = touched_sent_ < round_->paths.size();
        Answerer::say(out, MessageKind::kTouched, m);
        if (m.more) return Progressed::kMore;
        round_.reset();
        return Progressed::kDone;
    }

    LookAhead ahead_;
    Answerer answerer_;
    Rounds rounds_;
    std::deque<Question> questions_;
    // Of the question in front.
    std::optional<Rounds::Round> round_;
    std::size_t touched_sent_ = 0;
    bool failed_ = false;
};

ResyncSource::ResyncSource(int root, Journal& journal, Epoch epoch, WriterHold& writers, ResyncScope scope,
                           ResyncLimits limits)
    : scope_(std::move(scope)), impl_(std::make_unique<Impl>(root, journal, scope_.since, epoch, writers, limits)) {}
ResyncSource::~ResyncSource() = default;

Result<void, DecodeError> ResyncSource::receive(MessageKind kind, ByteView payload) {
    return impl_->receive(kind, payload);
}
bool ResyncSource::produce(Bytes& out) { return impl_->produce(out); }
std::optional<Position> ResyncSource::finished() const { return impl_->rounds().finished(); }
double ResyncSource::hold_ms() const { return impl_->rounds().hold_ms(); }

}  // namespace tdfs

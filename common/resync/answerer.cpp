#include "common/resync/answerer.hpp"

#include "proto/session.hpp"

namespace tdfs {
namespace {

BackingDir backing_dir(int root) {
    const auto info = stat_fd(root);
    return BackingDir{root, info ? info->device : 0};
}

}  // namespace

Answerer::Answerer(int root) : backing_(backing_dir(root)) {}

void Answerer::abandon() {
    list_.reset();
    range_.reset();
    file_.close();
}

Answerer::Step Answerer::answer(const ListRequest& q, Bytes& out) {
    if (!list_) {
        const auto begin = monotonic_ns();
        auto opened = ListAnswer::open(backing_, q.path);
        if (ahead_ != nullptr) ahead_->took(monotonic_ns() - begin, opened ? (*opened)->names() : 0);
        if (!opened) return Unexpected<Unreadable>(opened.error());
        list_ = std::move(*opened);
    }
    const auto part = list_->next();
    if (!part) return Unexpected<Unreadable>(part.error());
    say(out, MessageKind::kListPart, *part);
    if (!part->last) return Progressed::kMore;
    list_.reset();
    return Progressed::kDone;
}

Answerer::Step Answerer::answer(const StatRequest& q, Bytes& out) {
    auto entry = stat_answer(backing_, q.path);
    if (!entry) return Unexpected<Unreadable>(entry.error());
    say(out, MessageKind::kStatReply, StatReply{std::move(*entry)});
    return Progressed::kDone;
}

Answerer::Step Answerer::answer(const XattrsRequest& q, Bytes& out) {
    const auto reply = xattrs_answer(backing_, q);
    if (!reply) return Unexpected<Unreadable>(reply.error());
    say(out, MessageKind::kXattrsReply, *reply);
    return Progressed::kDone;
}

Answerer::Step Answerer::answer(const RangeRequest& q, Bytes& out) {
    if (!range_) {
        const auto fd = file_.get(backing_, q.path, q.object);
        if (!fd) return Unexpected<Unreadable>(fd.error());
        range_.emplace(*fd, q);
    }
    const auto part = range_->next();
    if (!part) return Unexpected<Unreadable>(part.error());
    if (*part) {
        say(out, MessageKind::kRangePart, **part);
        return Progressed::kMore;
    }
    const auto end = range_->end();
    if (!end) return Unexpected<Unreadable>(end.error());
    say(out, MessageKind::kRangeEnd, *end);
    range_.reset();
    return Progressed::kDone;
}

}  // namespace tdfs

#include "common/resync/inspect_desk.hpp"

#include <unistd.h>

#include <algorithm>

#include "common/resync/answerer.hpp"
#include "common/resync/source.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kTurnBytes = 128 * 1024;
constexpr std::uint64_t kTurnNs = 10'000'000;
constexpr std::size_t kMaxInFlight = kMaxQuestions / 2;  // of all inspections together
constexpr std::uint64_t kTellNs = 250'000'000;
constexpr std::size_t kFoundBytes = 96 * 1024;  // of one message

}  // namespace

void InspectDesk::submit(InspectStart order, std::shared_ptr<InspectListener> listener) {
    const std::lock_guard lock(mutex_);
    submitted_.emplace_back(std::move(order), std::move(listener));
    busy_ = true;
}

void InspectDesk::take_submitted() {
    decltype(submitted_) orders;
    {
        const std::lock_guard lock(mutex_);
        orders.swap(submitted_);
    }
    for (auto& [order, listener] : orders) begin(std::move(order), std::move(listener), nullptr);
}

void InspectDesk::begin(InspectStart order, std::shared_ptr<InspectListener> listener, Bytes* out) {
    Job job;
    job.listener = std::move(listener);
    const bool hidden = std::any_of(order.paths.begin(), order.paths.end(),
                                    [](const std::string& path) { return is_within(path, kStateName); });
    job.inspector = std::make_unique<Inspector>(root_, std::move(order), gate_);
    if (hidden) return tell_done(job, out, "the state directory .tdfs is no part of the replica");
    if (jobs_.size() >= kMaxJobs) return tell_done(job, out, "too many inspections at once on this slave");
    jobs_.push_back(std::make_shared<Job>(std::move(job)));
    busy_ = true;
}

Result<void, DecodeError> InspectDesk::receive(MessageKind kind, ByteView payload) {
    if (kind == MessageKind::kInspectStart) {
        auto m = decode_InspectStart(payload);
        if (!m) return Unexpected<DecodeError>(m.error());
        begin(std::move(*m), nullptr, &words_);
        return {};
    }
    if (kind == MessageKind::kInspectStop) {
        const auto m = decode_InspectStop(payload);
        if (!m) return Unexpected<DecodeError>(m.error());
        for (const auto& job : jobs_) job->stopped |= job->listener == nullptr && job->inspector->order().id == m->id;
        std::erase_if(jobs_, [](const JobPtr& job) { return job->stopped; });
        return {};
    }
    if (asked_.empty()) return bad("an answer that nobody asked for");
    const JobPtr job = asked_.front();
    if (job->stopped) {
        if (answered_completely(kind, payload)) asked_.pop_front();
        return {};
    }
    const auto complete = job->inspector->receive(kind, payload);
    if (!complete) return Unexpected<DecodeError>(complete.error());
    if (*complete) asked_.pop_front();
    return {};
}

// Of a question whose answer is of no interest any more.
bool InspectDesk::answered_completely(MessageKind kind, ByteView payload) const {
    if (kind != MessageKind::kListPart) return true;
    const auto part = decode_ListPart(payload);
    return !part || part->last || part->absent;
}

void InspectDesk::produce(Bytes& out) {
    take_submitted();
    out.insert(out.end(), words_.begin(), words_.end());
    words_.clear();
    const auto before = out.size();
    const auto begin_ns = monotonic_ns();
    const bool progress = begin_ns - told_ns_ >= kTellNs;
    if (progress) told_ns_ = begin_ns;
    for (const auto& job : jobs_) {
        if (job->listener != nullptr && job->listener->cancelled()) {
            job->stopped = true;
            tell_done(*job, nullptr, "stopped");
            continue;
        }
        job->inspector->turn(begin_ns);
        for (auto now_ns = begin_ns; asked_.size() < kMaxInFlight && out.size() - before < kTurnBytes &&
                                     now_ns - begin_ns < kTurnNs && job->inspector->ask(out, now_ns);
             now_ns = monotonic_ns()) {
            asked_.push_back(job);
        }
        tell(*job, out, progress);
        if (job->inspector->done()) {
            job->stopped = true;
            tell_done(*job, &out, made_durable(*job->inspector));
        }
    }
    std::erase_if(jobs_, [](const JobPtr& job) { return job->stopped; });
    const std::lock_guard lock(mutex_);
    busy_ = !jobs_.empty() || !submitted_.empty();
}

// Why an inspection did not do all it was to; what a repair put right is on the disk before it is called so: no record tells of
// it, so that nothing would look at it again after a power loss of this machine.
std::string InspectDesk::made_durable(const Inspector& inspector) const {
    std::string error = inspector.error();
    if (!inspector.order().repair || !error.empty()) return error;
    const auto done = gate_.make_durable();
    return done ? "" : "what was repaired may be lost: " + done.error();
}

void InspectDesk::tell(Job& job, Bytes& out, bool progress) {
    const auto& inspector = *job.inspector;
    const auto id = inspector.order().id;
    auto findings = job.inspector->take_findings();
    const auto counts = inspector.counts();
    differences_ += counts.differences - std::exchange(job.counted, counts.differences);
    InspectProgress p{id, counts, inspector.share(), printable(inspector.at())};
    if (job.listener != nullptr) {
        if (!findings.empty()) job.listener->found(std::move(findings));
        if (progress) job.listener->progress(std::move(p));
        return;
    }
    for (std::size_t at = 0; at < findings.size();) {
        Findings m;
        m.id = id;
        for (std::size_t bytes = 0; at < findings.size() && bytes < kFoundBytes && m.findings.size() < kMaxFindings;
             ++at) {
            bytes += findings[at].path.size() + findings[at].detail.size();
            m.findings.push_back(std::move(findings[at]));
        }
        Answerer::say(out, MessageKind::kFound, m);
    }
    if (progress) Answerer::say(out, MessageKind::kInspectProgress, p);
}

void InspectDesk::tell_done(Job& job, Bytes* out, const std::string& error) {
    InspectDone m{job.inspector->order().id, job.inspector->counts(), error};
    if (job.listener != nullptr) {
        job.listener->done(std::move(m));
    } else if (out != nullptr) {
        Answerer::say(*out, MessageKind::kInspectDone, m);
    }
}

void InspectDesk::lost() {
    for (const auto& job : jobs_) {
        job->stopped = true;
        if (job->listener != nullptr) tell_done(*job, nullptr, "the link to the master was lost");
    }
    jobs_.clear();
    asked_.clear();
    words_.clear();
    const std::lock_guard lock(mutex_);
    busy_ = !submitted_.empty();  // they begin with the next stream
}

}  // namespace tdfs

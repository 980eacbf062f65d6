// Inspections in mid-stream, as the master's session carries them.
#include <algorithm>

#include "common/stream/foreign_text.hpp"
#include "common/stream/publisher_session.hpp"

namespace tdfs {

void PublisherSession::inspect(std::shared_ptr<InspectJob> job) { orders_.push_back(std::move(job)); }

InspectJob* PublisherSession::job(std::uint32_t id) {
    const auto at = std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& j) { return j->order().id == id; });
    return at == jobs_.end() ? nullptr : at->get();
}

// What belongs to no job was stopped a moment ago.
void PublisherSession::receive_inspection(MessageKind kind, ByteView payload) {
    if (kind == MessageKind::kFound) {
        auto m = decode_Findings(payload);
        if (!m) return end(false, std::string("bad findings from the slave: ") + m.error().what);
        for (auto& f : m->findings) f.detail = one_line(std::move(f.detail));
        if (auto* j = job(m->id)) j->add(std::move(m->findings));
    } else if (kind == MessageKind::kInspectProgress) {
        auto m = decode_InspectProgress(payload);
        if (!m) return end(false, std::string("bad progress from the slave: ") + m.error().what);
        m->at = one_line(std::move(m->at));
        if (auto* j = job(m->id)) j->progress(std::move(*m));
    } else {
        auto m = decode_InspectDone(payload);
        if (!m) return end(false, std::string("bad end of an inspection from the slave: ") + m.error().what);
        auto* const j = job(m->id);
        if (j == nullptr) return;
        j->finish(&m->counts, one_line(std::move(m->error)));
        std::erase_if(jobs_, [&](const auto& other) { return other.get() == j; });
    }
}

// At a frame boundary with nothing else to say. Answers and the journal take turns, so that neither waits for long.
void PublisherSession::serve_inspections(Instant now) {
    for (auto& order : std::exchange(orders_, {})) {
        outbox_.add(MessageKind::kInspectStart, order->order(), now);
        jobs_.push_back(std::move(order));
    }
    for (const auto& j : jobs_) {
        if (!j->cancelled()) continue;
        outbox_.add(MessageKind::kInspectStop, InspectStop{j->order().id}, now);
        j->finish(nullptr, "stopped");
    }
    std::erase_if(jobs_, [](const auto& j) { return j->cancelled(); });
    if (!inspector_) return;
    if (inspected_at_ == at_ && journal_.tail() > at_) return;
    inspected_at_ = inspector_->produce(outbox_.bytes()) ? std::optional(at_) : std::nullopt;
}

void PublisherSession::end_inspections(const std::string& why) {
    for (auto* list : {&jobs_, &orders_}) {
        for (const auto& j : *list) j->finish(nullptr, why);
        list->clear();
    }
}

}  // namespace tdfs

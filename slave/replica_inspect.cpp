// Inspections of the replica: the desk behind the subscriber, and the replay as its gate.
#include "slave/replica_inspect.hpp"

#include <utility>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

// Whoever ordered an inspection on this machine waits at a job.
class JobListener : public InspectListener {
  public:
    explicit JobListener(std::shared_ptr<InspectJob> job) : job_(std::move(job)) {}
    void found(std::vector<Finding> findings) override { job_->add(std::move(findings)); }
    void progress(InspectProgress progress) override { job_->progress(std::move(progress)); }
    void done(InspectDone done) override { job_->finish(&done.counts, std::move(done.error)); }
    [[nodiscard]] bool cancelled() const override { return job_->cancelled(); }

  private:
    std::shared_ptr<InspectJob> job_;
};

constexpr std::uint64_t kHealedShown = 20;  // in the log, of one repair

// A repair that the replica has ordered itself.
class HealListener : public InspectListener {
  public:
    HealListener(Healer& healer, std::function<void()> told) : healer_(healer), told_(std::move(told)) {}
    void found(std::vector<Finding> findings) override {
        for (const auto& f : findings) {
            if (f.healed) {
                if (++healed_ <= kHealedShown)
                    spdlog::warn("healed {} ({})", printable(f.path), difference_text(f.kinds));
            } else if (problem_.empty()) {
                problem_ = printable(f.path) + " (" + difference_text(f.kinds) + ") " + f.detail;
            }
        }
    }
    void progress(InspectProgress) override {}
    void done(InspectDone done) override {
        if (healed_ > kHealedShown) spdlog::warn("healed {} more", healed_ - kHealedShown);
        healer_.finished(done.error.empty() ? problem_ : done.error, monotonic_ns());
        told_();
    }
    [[nodiscard]] bool cancelled() const override { return false; }

  private:
    Healer& healer_;
    const std::function<void()> told_;
    std::string problem_;
    std::uint64_t healed_ = 0;
};

}  // namespace

void Replica::Inspections::produce(Bytes& out) {
    if (auto order = healer_.order(monotonic_ns())) {
        desk_.submit(std::move(*order), std::make_shared<HealListener>(healer_, wake_));
    }
    desk_.produce(out);
}

// A repair changes the replica.
void Replica::Inspections::meet(Lsn at, Meeting meeting) {
    if (activity_ != nullptr) {
        meeting.look = [look = std::move(meeting.look), activity = activity_] {
            const ActivityLog::Span at_work(activity);
            return look();
        };
    }
    replayer_.meet(at, std::move(meeting));
}

void Replica::Inspections::submit(std::shared_ptr<InspectJob> job) {
    auto order = job->order();
    desk_.submit(std::move(order), std::make_shared<JobListener>(std::move(job)));
    wake_();
}

InspectPort* Replica::inspections() { return inspections_.get(); }

std::shared_ptr<InspectJob> Replica::inspect(InspectStart order) {
    order.id = 1;  // some number: the master does not hear of it
    auto job = std::make_shared<InspectJob>(std::move(order));
    inspections_->submit(job);
    return job;
}

}  // namespace tdfs

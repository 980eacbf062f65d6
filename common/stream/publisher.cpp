#include "common/stream/publisher.hpp"

#include <algorithm>

#include "common/stream/lag.hpp"
#include "common/stream/publisher_link.hpp"
#include "common/stream/tcp.hpp"

namespace tdfs {

std::string PublisherOptions::Target::text() const { return endpoint_text(host, port); }

namespace {

std::vector<std::string> texts(const std::vector<PublisherOptions::Target>& targets) {
    std::vector<std::string> all;
    all.reserve(targets.size());
    for (const auto& target : targets) all.push_back(target.text());
    return all;
}

}  // namespace

class Publisher::Impl {
  public:
    Impl(Journal& journal, Volume volume, PublisherOptions options, MakeResponder make_responder,
         MakeInspector make_inspector)
        : board_(texts(options.targets)),
          shared_{journal, std::move(volume), std::move(options), std::move(make_responder), std::move(make_inspector),
                  board_},
          started_at_(Instant::now()) {
        TDFS_INVARIANT(!shared_.volume.history.empty(), "a publisher without an epoch");
        for (std::size_t i = 0; i < shared_.options.targets.size(); ++i) {
            links_.push_back(std::make_unique<PublisherLink>(shared_, i));
        }
    }

    void start() {
        for (const auto& link : links_) link->start();
    }

    void stop() {
        board_.close();
        for (const auto& link : links_) link->ask_to_stop();
        for (const auto& link : links_) link->join();
    }

    [[nodiscard]] std::vector<PeerStatus> status() const {
        std::vector<PeerStatus> all;
        for (PeerEntry& entry : board_.entries()) {
            PeerStatus& peer = entry.status;
            const Instant now = Instant::now();
            peer.send_rate = entry.sent_rate.per_second(now.monotonic_ns, peer.bytes_sent);
            peer.apply_rate = entry.applied_rate.per_second(now.monotonic_ns, peer.applied.bytes());
            peer.position_known = entry.position_known;
            fill_lag(peer, entry.position_known, now);
            all.push_back(std::move(peer));
        }
        return all;
    }

    PeerBoard& board() { return board_; }

    std::shared_ptr<InspectJob> inspect(const std::string& target, InspectStart order) {
        order.id = ++jobs_;
        auto job = std::make_shared<InspectJob>(std::move(order));
        const auto entries = board_.entries();
        for (std::size_t i = 0; i < entries.size(); ++i) {
            if (entries[i].status.target != target) continue;
            if (entries[i].linked) {
                links_[i]->post(job);
            } else {
                const auto& detail = entries[i].status.detail;
                job->finish(nullptr, "the slave is not streaming" + (detail.empty() ? "" : ": " + detail));
            }
            return job;
        }
        job->finish(nullptr, "there is no slave " + target);
        return job;
    }

  private:
    // Of a replica whose position is not known, everything that is in the journal is taken for missing, since start.
    void fill_lag(PeerStatus& peer, bool position_known, Instant now) const {
        const Lsn tail = shared_.journal.tail();
        const Lsn oldest = shared_.journal.oldest();
        const Lsn applied = position_known ? std::min(peer.applied, tail) : oldest;
        peer.lag_bytes = tail - applied;
        if (peer.lag_bytes == 0) return;
        const Lag lag = measure_lag(shared_.journal, std::max(applied, oldest), tail);
        peer.lag_records = lag.records;
        if (!position_known) {
            peer.lag_seconds = static_cast<double>(now.monotonic_ns - started_at_.monotonic_ns) / 1e9;
        } else if (lag.oldest_time_ns != 0 && lag.oldest_time_ns < now.wall_ns) {
            peer.lag_seconds = static_cast<double>(now.wall_ns - lag.oldest_time_ns) / 1e9;
        }
    }

    PeerBoard board_;
    PublisherShared shared_;
    const Instant started_at_;
    std::atomic<std::uint32_t> jobs_{0};
    std::vector<std::unique_ptr<PublisherLink>> links_;
};

Publisher::Publisher(Journal& journal, Volume volume, PublisherOptions options, MakeResponder make_responder,
                     MakeInspector make_inspector)
    : impl_(std::make_unique<Impl>(journal, std::move(volume), std::move(options), std::move(make_responder),
                                   std::move(make_inspector))) {}

Publisher::~Publisher() { stop(); }

void Publisher::start() { impl_->start(); }

void Publisher::stop() { impl_->stop(); }

std::vector<PeerStatus> Publisher::status() const { return impl_->status(); }

bool Publisher::wait(const std::vector<std::string>& targets, Lsn upto, Level level,
                     std::chrono::milliseconds timeout) {
    std::vector<std::string> names = targets;
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    for (const auto& name : names) {
        if (!has_target(name)) return false;
    }
    const std::size_t count = names.empty() ? impl_->board().size() : names.size();
    return impl_->board().wait(names, count, upto, level, timeout);
}

bool Publisher::wait_for_count(std::size_t count, Lsn upto, Level level, std::chrono::milliseconds timeout) {
    return impl_->board().wait({}, count, upto, level, timeout);
}

std::shared_ptr<InspectJob> Publisher::inspect(const std::string& target, InspectStart order) {
    return impl_->inspect(target, std::move(order));
}

Lsn Publisher::confirmed_by(std::size_t count, Level level) const { return impl_->board().confirmed_by(count, level); }

bool Publisher::has_target(const std::string& text) const { return impl_->board().has(text); }

std::optional<Lsn> Publisher::slowest() const { return impl_->board().slowest(); }

}  // namespace tdfs

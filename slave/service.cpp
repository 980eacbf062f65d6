#include "slave/service.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/control/inspect_answer.hpp"
#include "common/control/journal_log.hpp"
#include "common/control/status.hpp"
#include "common/daemon/daemon.hpp"
#include "common/os/file.hpp"
#include "common/stream/lag.hpp"
#include "proto/path.hpp"
#include "tdfs_config.hpp"

namespace tdfs {

namespace {

using nlohmann::json;

constexpr int kFailed = 1;
constexpr int kTimedOut = 4;
constexpr std::uint64_t kLongestWaitMs = 1ull << 40;  // so that adding it to now does not overflow

json error(const std::string& text, int code = kFailed) { return {{"error", text}, {"code", code}}; }

double seconds_since(std::uint64_t time_ns) {
    const auto now = wall_clock_ns();
    return time_ns == 0 || now <= time_ns ? 0 : static_cast<double>(now - time_ns) / 1e9;
}

}  // namespace

SlaveService::SlaveService(Replica& replica, const Subscriber& subscriber, std::string directory, std::string listen,
                           std::function<void()> stop)
    : replica_(replica),
      subscriber_(subscriber),
      directory_(std::move(directory)),
      listen_(std::move(listen)),
      stop_(std::move(stop)) {}

json SlaveService::answer(const ControlRequest& request) {
    const auto cmd = request.command.find("cmd");
    const std::string name = cmd != request.command.end() && cmd->is_string() ? cmd->get<std::string>() : "";
    if (name == "status") return status();
    if (name == "wait") return wait(request);
    if (name == "log") return answer_log(replica_.spool(), request);
    if (name == "pause" || name == "resume") {
        const auto done = name == "pause" ? replica_.pause() : replica_.resume_applying();
        return done ? json{{"ok", true}} : error(done.error());
    }
    if (name == "inspect") return inspect(request);
    if (name == "stop") {
        stop_();
        return {{"ok", true}};
    }
    return error(
        name == "drain"
            ? "drain is asked of the master; here wait tells when a position is applied"
            : "a slave does not know this command; it knows status, wait, log, inspect, pause, resume and stop");
}

json SlaveService::wait(const ControlRequest& request) {
    const auto& command = request.command;
    const auto number = [&](const char* name) -> std::optional<std::uint64_t> {
        const auto at = command.find(name);
        if (at == command.end() || !at->is_number_unsigned()) return std::nullopt;
        return at->get<std::uint64_t>();
    };
    const auto epoch = command.find("epoch");
    const auto lsn = number("lsn");
    const auto timeout_ms = number("timeout_ms");
    if (epoch == command.end() || !epoch->is_string() || !lsn || !timeout_ms) {
        return error("wait needs epoch (16 hex digits), lsn and timeout_ms");
    }
    const auto at = parse_position(epoch->get<std::string>() + ":" + std::to_string(*lsn));
    if (!at) return error("the epoch is not 16 hex digits");
    const std::chrono::milliseconds timeout(std::min(*timeout_ms, kLongestWaitMs));
    switch (replica_.wait_applied(*at, timeout, request.cancelled)) {
        case Replica::Waited::kApplied:
            return {{"ok", true}, {"position", to_text(*at)}};
        case Replica::Waited::kTimedOut:
            return error("position " + to_text(*at) + " is not applied yet", kTimedOut);
        case Replica::Waited::kUnknown:
            return error("no master has told of the epoch of position " + to_text(*at), kTimedOut);
        case Replica::Waited::kCancelled:
            break;
    }
    return error("the daemon stops");
}

// Of this replica, whoever is the master.
json SlaveService::inspect(const ControlRequest& request) {
    auto order = read_inspect_command(request.command, {directory_});
    if (!order) return error(order.error(), kInspectNotChecked);
    if (const auto slaves = request.command.find("slaves"); slaves != request.command.end() && !slaves->empty()) {
        return error("a slave inspects itself only: ask the master about others", kInspectNotChecked);
    }
    if (const auto state = replica_.status().state;
        state != ReplicaState::kStreaming || !subscriber_.status().connected) {
        return error(std::string("this slave has no master to compare with now (it is ") + to_text(state) + ")",
                     kInspectNotChecked);
    }
    return answer_inspect(request, {{"here", replica_.inspect(std::move(*order))}});
}

json SlaveService::status() const {
    const auto replica = replica_.status();
    const auto link = subscriber_.status();
    SlaveStatus s;
    s.version = TDFS_VERSION;
    s.directory = directory_;
    s.listen = listen_;
    s.connected = link.connected;
    s.master = link.master;
    s.rss_anon = anonymous_memory_bytes();
    s.last_error = replica.error.empty() ? link.last_error : replica.error;
    s.state = to_text(replica.state);
    if (replica.volume.valid()) s.volume = replica.volume.text();
    if (replica.epoch.valid()) {
        const auto text = to_text(Position{replica.epoch, Lsn()});
        s.epoch = text.substr(0, text.find(':'));
    }
    s.received = replica.received.bytes();
    s.durable = replica.durable.bytes();
    s.applied = replica.applied.lsn.bytes();
    s.spool_bytes = replica.spool_bytes;
    s.applied_records = replica.replay.records;
    s.skipped_records = replica.replay.skipped;
    s.apply_workers = replica.apply_workers;
    s.soft_errors = replica.soft_errors;
    s.hard_errors = replica.hard_errors;
    s.divergent = replica.divergent.lines;
    s.divergent_bytes = replica.divergent.bytes;
    s.divergent_refused = replica.divergent.refused;

    const bool follows = replica.state == ReplicaState::kStreaming || replica.state == ReplicaState::kStalled ||
                         replica.state == ReplicaState::kPaused;
    if (follows) {
        const auto end = std::max(replica.master_tail, replica.received);
        s.lag_bytes = end > replica.applied.lsn ? end - replica.applied.lsn : 0;
        if (replica.received > replica.applied.lsn) {
            const auto lag = measure_lag(replica_.spool(), replica.applied.lsn, replica.received);
            s.lag_records = lag.records;
            s.lag_seconds = seconds_since(lag.oldest_time_ns);
        }
    }
    if (replica.state == ReplicaState::kResyncing) {
        const auto& p = replica.progress;
        s.progress = {p.files_done, p.files_total, p.bytes_done, p.bytes_total, p.counting, p.round, 0};
    }
    s.counts = {{"applied_bytes", replica.replay.bytes},
                {"connects", link.connects},
                {"received_bytes", link.bytes_received},
                {"refused_connections", link.refused},
                {"resync_fetched_bytes", replica.resynced.fetched_bytes},
                {"resync_fetched_files", replica.resynced.fetched_files},
                {"resync_listed", replica.resynced.listed},
                {"resync_metadata", replica.resynced.metadata},
                {"resync_removed", replica.resynced.removed},
                {"resync_xattrs_left", replica.resynced.xattrs_left},
                {"resyncs", replica.resyncs},
                {"retries", replica.replay.retries},
                {"spool_syncs", replica.spool_syncs}};
    json answer = status_to_json(s);
    answer["position"] = to_text(Position{replica.epoch, replica.applied.lsn});
    answer["checkpoint"] = replica.checkpoint.bytes();
    answer["oldest"] = replica.oldest.bytes();
    answer["applied_time_ns"] = replica.applied.time_ns;
    json repairs = json::array();
    for (const std::string& path : replica.repairs) repairs.push_back(printable(path));
    answer["repairs"] = std::move(repairs);
    answer["resync_reason"] = replica.resync_reason;
    return answer;
}

}  // namespace tdfs

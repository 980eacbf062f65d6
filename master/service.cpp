#include "master/service.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "common/control/inspect_answer.hpp"
#include "common/control/journal_log.hpp"
#include "common/control/status.hpp"
#include "common/daemon/daemon.hpp"
#include "tdfs_config.hpp"

namespace tdfs {

namespace {
using nlohmann::json;

constexpr int kTimedOut = 4;

json failed(const std::string& text, int code = 1) { return {{"error", text}, {"code", code}}; }

std::string text_of(PeerStatus::State s) {
    switch (s) {
        case PeerStatus::State::kConnecting:
            return "connecting";
        case PeerStatus::State::kRefused:
            return "refused";
        case PeerStatus::State::kStreaming:
            return "streaming";
        case PeerStatus::State::kResyncing:
            return "resyncing";
        case PeerStatus::State::kStalled:
            return "stalled";
        case PeerStatus::State::kPaused:
            return "paused";
    }
    return "unknown";
}

SlaveRowStatus row_of(const PeerStatus& p) {
    SlaveRowStatus row;
    row.target = p.target;
    row.name = p.name;
    row.state = text_of(p.state);
    row.detail = p.detail;
    row.sent = p.sent.bytes();
    row.received = p.received.bytes();
    row.durable = p.durable.bytes();
    row.applied = p.applied.bytes();
    row.lag_bytes = p.lag_bytes;
    row.lag_records = p.lag_records;
    row.lag_seconds = p.lag_seconds;
    row.bytes_sent = p.bytes_sent;
    row.send_rate = p.send_rate;
    row.apply_rate = p.apply_rate;
    row.connects = p.connects;
    row.resyncs = p.resyncs;
    row.durable_acks = p.durable_acks;
    row.hold_ms = p.hold_ms;
    row.soft_errors = p.soft_errors;
    row.hard_errors = p.hard_errors;
    row.progress.files_done = p.progress.files_done;
    row.progress.files_total = p.progress.files_total;
    row.progress.bytes_done = p.progress.bytes_done;
    row.progress.bytes_total = p.progress.bytes_total;
    row.progress.counting = p.progress.counting;
    row.progress.round = p.progress.round;
    row.progress.rate = p.send_rate;
    return row;
}
}  // namespace

json Service::status() const {
    MasterStatus s;
    const Position position{p_.epoch, p_.journal.tail()};
    s.version = TDFS_VERSION;
    s.volume = p_.volume_id.text();
    s.position = to_text(position);
    s.epoch = s.position.substr(0, s.position.find(':'));
    if (p_.mutator.full()) s.state = "full: changes are refused (ENOSPC) until there is disk space, see --reserve";
    if (p_.mutator.broken()) s.state = "read-only: a change could not be recorded, see the log";
    s.oldest = p_.journal.oldest().bytes();
    s.tail = p_.journal.tail().bytes();
    s.durable = p_.journal.durable().bytes();
    s.journal_bytes = p_.journal.disk_bytes();
    s.mount = p_.volume.mountpoint();
    s.directory = p_.volume.directory();
    s.compression = p_.options.compress ? 1 : 0;
    s.rss_anon = anonymous_memory_bytes();
    s.unsettled = p_.settler.pending();
    s.retain_bytes = p_.retention.limits().retain_bytes;
    s.retain_age = static_cast<std::uint64_t>(p_.retention.limits().retain_age.count());
    s.reserve_bytes = p_.retention.limits().reserve_bytes;
    s.free_bytes = p_.retention.free_bytes();
    s.given_up_segments = p_.retention.given_up();
    s.sync = p_.gate.status();
    s.fuse["nodes"] = p_.nodes.size();
    s.fuse["max_write"] = p_.mount.features().max_write.load();
    s.fuse["acl"] = p_.mount.features().acl ? 1 : 0;
    s.fuse["kill_privileges"] = p_.mount.features().kill_privileges ? 1 : 0;
    s.fuse["io_uring"] = p_.mount.features().io_uring ? 1 : 0;
    s.fuse["stay_awake"] = p_.mount.features().stay_awake ? 1 : 0;
    s.fuse["writeback_ms"] = p_.mount.features().writeback ? p_.options.writeback_ms : 0;
    s.scrub = p_.scrub.status();
    for (const PeerStatus& p : p_.publisher.status()) {
        const HistoryUse use = history_use(p, p_.journal.oldest(), p_.journal.tail(), p_.retention.limits());
        SlaveRowStatus& row = s.slaves.emplace_back(row_of(p));
        row.history_known = use.known;
        row.history_lost = use.lost;
        row.history_left = use.left_bytes;
        row.history_percent = use.percent;
    }
    return status_to_json(s);
}

Result<std::vector<std::string>, std::string> Service::targets(const ControlRequest& request) const {
    std::vector<std::string> names;
    const std::vector<PeerStatus> peers = p_.publisher.status();
    for (const auto& given : request.command.value("slaves", json::array())) {
        const std::string name = given.is_string() ? given.get<std::string>() : given.dump();
        const PeerStatus* found = nullptr;
        for (const PeerStatus& p : peers) {
            if (p.target == name || p.name == name) found = &p;
        }
        if (found == nullptr) {
            return Unexpected<std::string>("there is no slave " + name + " (tdfsctl status shows their names)");
        }
        names.push_back(found->target);
    }
    return names;
}

json Service::inspect(const ControlRequest& request) {
    auto order = read_inspect_command(request.command, {p_.volume.directory(), p_.volume.mountpoint()});
    if (!order) return failed(order.error(), kInspectNotChecked);
    auto names = targets(request);
    if (!names) return failed(names.error(), kInspectNotChecked);
    if (names->empty()) {
        for (const PeerStatus& p : p_.publisher.status()) names->push_back(p.target);
    }
    if (names->empty()) return failed("there is no slave to compare with", kInspectNotChecked);
    std::vector<InspectTarget> jobs;
    for (const auto& name : *names) jobs.push_back({name, p_.publisher.inspect(name, *order)});
    return answer_inspect(request, jobs);
}

// Everything done before the question has been applied when it is answered: times included.
json Service::drain(const ControlRequest& request) {
    const auto named = targets(request);
    if (!named) return failed(named.error());
    const std::vector<std::string>& names = *named;
    const auto timeout = std::chrono::milliseconds(request.command.value("timeout_ms", std::int64_t{-1}));
    const auto begin = std::chrono::steady_clock::now();
    const auto is_late = [&] { return timeout.count() >= 0 && std::chrono::steady_clock::now() - begin >= timeout; };
    const std::uint64_t asked = p_.write_out.ask();
    while (!p_.write_out.await(asked, std::chrono::milliseconds(200))) {
        if (request.cancelled()) return failed("given up");
        if (is_late()) return failed("what the kernel keeps unwritten has not been written yet", kTimedOut);
    }
    p_.settler.settle_all();
    // What was done may stand behind what is still under way, where nobody sees it yet.
    const Lsn upto = p_.journal.reserved();
    while (!p_.publisher.wait(names, upto, Publisher::Level::kApplied, std::chrono::milliseconds(200))) {
        if (request.cancelled()) return failed("given up");
        if (is_late()) {
            return failed("not all slaves have applied everything up to lsn " + std::to_string(upto.bytes()) +
                              " yet (tdfsctl status says who has not)",
                          kTimedOut);
        }
    }
    return {{"ok", true}, {"position", to_text(Position{p_.epoch, upto})}};
}

json Service::answer(const ControlRequest& request) {
    const std::string command = request.command.value("cmd", "");
    if (command == "status") return status();
    if (command == "drain") return drain(request);
    if (command == "inspect") return inspect(request);
    if (command == "log") return answer_log(p_.journal, request);
    if (command == "stop") {
        const std::uint64_t one = 1;
        if (::write(p_.stop_requested, &one, sizeof one) < 0) return failed("cannot stop: " + Errno::last().text());
        return {{"ok", true}};
    }
    if (command == "wait") return failed("wait is asked of a slave; a master is always where it is (try: drain)");
    if (command == "pause" || command == "resume") return failed(command + " is asked of a slave (tdfsctl -m REPLICA)");
    return failed("a master does not know the command \"" + command + "\"");
}

void Service::wait_until_stopped(int unmounted_fd) const {
    // One descriptor for both: an epoll set is readable when one of its members is.
    const OwnFd either(::epoll_create1(EPOLL_CLOEXEC));
    TDFS_INVARIANT(static_cast<bool>(either), "an epoll set can be made");
    for (const int fd : {unmounted_fd, p_.stop_requested}) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        TDFS_INVARIANT(::epoll_ctl(either.get(), EPOLL_CTL_ADD, fd, &event) == 0, "a descriptor can be waited for");
    }
    wait_for_signal_or(either.get());
}

}  // namespace tdfs

#include "common/control/status.hpp"

#include <concepts>

#include <nlohmann/json.hpp>

namespace tdfs {

namespace {

using nlohmann::json;

// One list of fields for each struct, visited by the writer and by the reader: `visit(name, member)`.

template <class Visit, class Status>
void visit_progress(Visit& visit, Status& s) {
    visit("files_done", s.files_done);
    visit("files_total", s.files_total);
    visit("bytes_done", s.bytes_done);
    visit("bytes_total", s.bytes_total);
    visit("counting", s.counting);
    visit("round", s.round);
    visit("rate", s.rate);
}

template <class Visit, class Status>
void visit_scrub(Visit& visit, Status& s) {
    visit("rate", s.rate);
    visit("passes", s.passes);
    visit("last_pass", s.last_pass);
    visit("differences", s.differences);
    visit("healed", s.healed);
    visit("slave", s.slave);
    visit("at", s.at);
    visit("share", s.share);
}

template <class Visit, class Status>
void visit_slave_row(Visit& visit, Status& s) {
    visit("target", s.target);
    visit("name", s.name);
    visit("state", s.state);
    visit("detail", s.detail);
    visit("sent", s.sent);
    visit("received", s.received);
    visit("durable", s.durable);
    visit("applied", s.applied);
    visit("lag_bytes", s.lag_bytes);
    visit("lag_records", s.lag_records);
    visit("lag_seconds", s.lag_seconds);
    visit("bytes_sent", s.bytes_sent);
    visit("send_rate", s.send_rate);
    visit("apply_rate", s.apply_rate);
    visit("connects", s.connects);
    visit("resyncs", s.resyncs);
    visit("durable_acks", s.durable_acks);
    visit("hold_ms", s.hold_ms);
    visit("soft_errors", s.soft_errors);
    visit("hard_errors", s.hard_errors);
    visit("history_known", s.history_known);
    visit("history_lost", s.history_lost);
    visit("history_left", s.history_left);
    visit("history_percent", s.history_percent);
    visit("progress", s.progress);
}

template <class Visit, class Status>
void visit_sync(Visit& visit, Status& s) {
    visit("slaves", s.slaves);
    visit("level", s.level);
    visit("timeout_seconds", s.timeout_seconds);
    visit("late", s.late);
    visit("state", s.state);
    visit("late_seconds", s.late_seconds);
    visit("confirmed", s.confirmed);
    visit("waiting", s.waiting);
    visit("requests", s.requests);
    visit("waves", s.waves);
    visit("unconfirmed", s.unconfirmed);
    visit("times_late", s.times_late);
    visit("given_up", s.given_up);
}

template <class Visit, class Status>
void visit_master(Visit& visit, Status& s) {
    visit("version", s.version);
    visit("volume", s.volume);
    visit("epoch", s.epoch);
    visit("state", s.state);
    visit("position", s.position);
    visit("oldest", s.oldest);
    visit("tail", s.tail);
    visit("durable", s.durable);
    visit("journal_bytes", s.journal_bytes);
    visit("mount", s.mount);
    visit("directory", s.directory);
    visit("compression", s.compression);
    visit("rss_anon", s.rss_anon);
    visit("unsettled", s.unsettled);
    visit("retain_bytes", s.retain_bytes);
    visit("retain_age", s.retain_age);
    visit("reserve_bytes", s.reserve_bytes);
    visit("free_bytes", s.free_bytes);
    visit("given_up_segments", s.given_up_segments);
    visit("sync", s.sync);
    visit("fuse", s.fuse);
    visit("scrub", s.scrub);
    visit("slaves", s.slaves);
}

template <class Visit, class Status>
void visit_slave(Visit& visit, Status& s) {
    visit("version", s.version);
    visit("volume", s.volume);
    visit("epoch", s.epoch);
    visit("state", s.state);
    visit("received", s.received);
    visit("durable", s.durable);
    visit("applied", s.applied);
    visit("spool_bytes", s.spool_bytes);
    visit("directory", s.directory);
    visit("listen", s.listen);
    visit("connected", s.connected);
    visit("master", s.master);
    visit("lag_bytes", s.lag_bytes);
    visit("lag_records", s.lag_records);
    visit("lag_seconds", s.lag_seconds);
    visit("applied_records", s.applied_records);
    visit("skipped_records", s.skipped_records);
    visit("apply_workers", s.apply_workers);
    visit("soft_errors", s.soft_errors);
    visit("hard_errors", s.hard_errors);
    visit("divergent", s.divergent);
    visit("divergent_bytes", s.divergent_bytes);
    visit("divergent_refused", s.divergent_refused);
    visit("rss_anon", s.rss_anon);
    visit("last_error", s.last_error);
    visit("progress", s.progress);
    visit("counts", s.counts);
}

struct Writer {
    json object = json::object();

    template <class T>
    void operator()(const char* name, const T& value) {
        object[name] = value;
    }
    void operator()(const char* name, const ProgressStatus& value) {
        Writer inner;
        visit_progress(inner, value);
        object[name] = std::move(inner.object);
    }
    void operator()(const char* name, const ScrubStatus& value) {
        Writer inner;
        visit_scrub(inner, value);
        object[name] = std::move(inner.object);
    }
    void operator()(const char* name, const SyncStatus& value) {
        Writer inner;
        visit_sync(inner, value);
        object[name] = std::move(inner.object);
    }
    void operator()(const char* name, const std::vector<SlaveRowStatus>& rows) {
        auto list = json::array();
        for (const auto& row : rows) {
            Writer inner;
            visit_slave_row(inner, row);
            list.push_back(std::move(inner.object));
        }
        object[name] = std::move(list);
    }
};

// A number of JSON is unsigned only when it came from text: one that was put in as an int counts, too.
bool is_count(const json& number) {
    return number.is_number_unsigned() || (number.is_number_integer() && number.get<std::int64_t>() >= 0);
}

struct Reader {
    const json& object;

    [[nodiscard]] const json* find(const char* name) const {
        if (!object.is_object()) return nullptr;
        const auto at = object.find(name);
        return at == object.end() ? nullptr : &*at;
    }
    void operator()(const char* name, std::string& value) const {
        const auto* found = find(name);
        if (found != nullptr && found->is_string()) value = found->get<std::string>();
    }
    void operator()(const char* name, bool& value) const {
        const auto* found = find(name);
        if (found != nullptr && found->is_boolean()) value = found->get<bool>();
    }
    template <std::integral T>
    void operator()(const char* name, T& value) const {
        const auto* found = find(name);
        if (found != nullptr && is_count(*found)) value = found->get<T>();
    }
    void operator()(const char* name, double& value) const {
        const auto* found = find(name);
        if (found != nullptr && found->is_number()) value = found->get<double>();
    }
    void operator()(const char* name, ProgressStatus& value) const {
        const auto* found = find(name);
        if (found == nullptr) return;
        Reader inner{*found};
        visit_progress(inner, value);
    }
    void operator()(const char* name, ScrubStatus& value) const {
        const auto* found = find(name);
        if (found == nullptr) return;
        Reader inner{*found};
        visit_scrub(inner, value);
    }
    void operator()(const char* name, SyncStatus& value) const {
        const auto* found = find(name);
        if (found == nullptr) return;
        Reader inner{*found};
        visit_sync(inner, value);
    }
    void operator()(const char* name, Counters& value) const {
        const auto* found = find(name);
        if (found == nullptr || !found->is_object()) return;
        for (const auto& [key, count] : found->items()) {
            if (is_count(count)) value[key] = count.get<std::uint64_t>();
        }
    }
    void operator()(const char* name, std::vector<SlaveRowStatus>& rows) const {
        const auto* found = find(name);
        if (found == nullptr || !found->is_array()) return;
        for (const auto& item : *found) {
            Reader inner{item};
            visit_slave_row(inner, rows.emplace_back());
        }
    }
};

json answer_of(const char* role, Writer writer) {
    writer.object["ok"] = true;
    writer.object["role"] = role;
    return std::move(writer.object);
}

}  // namespace

json status_to_json(const MasterStatus& status) {
    Writer writer;
    visit_master(writer, status);
    return answer_of("master", std::move(writer));
}

json status_to_json(const SlaveStatus& status) {
    Writer writer;
    visit_slave(writer, status);
    return answer_of("slave", std::move(writer));
}

Result<std::variant<MasterStatus, SlaveStatus>, std::string> status_from_json(const json& object) {
    std::string role;
    Reader reader{object};
    reader("role", role);
    if (role == "master") {
        MasterStatus status;
        visit_master(reader, status);
        return std::variant<MasterStatus, SlaveStatus>(std::move(status));
    }
    if (role == "slave") {
        SlaveStatus status;
        visit_slave(reader, status);
        return std::variant<MasterStatus, SlaveStatus>(std::move(status));
    }
    return Unexpected<std::string>("a status without a role that is known");
}

}  // namespace tdfs

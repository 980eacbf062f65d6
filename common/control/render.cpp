#include "common/control/render.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

#include "common/control/human.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

constexpr int kBarWidth = 20;
constexpr std::size_t kLabelWidth = 12;

void pad(std::string& text, std::size_t shown, std::size_t width) {
    if (shown < width) text.append(width - shown, ' ');
}

// "  directory   /srv/data"; nothing where there is no value.
void add_fact(std::string& out, const std::string& label, const std::string& value) {
    if (value.empty()) return;
    out += "  " + label;
    pad(out, label.size(), kLabelWidth);
    out += value + "\n";
}

// A table whose columns are as wide as their widest cell; the columns in `right` are aligned to the right.
class Table {
  public:
    Table(std::vector<std::string> head, std::vector<bool> right) : right_(std::move(right)) { add(std::move(head)); }
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

    [[nodiscard]] std::vector<std::string> lines() const {
        std::vector<std::size_t> widths(right_.size(), 0);
        for (const auto& row : rows_) {
            for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], shown_width(row[i]));
        }
        std::vector<std::string> lines;
        for (const auto& row : rows_) {
            std::string line = "  ";
            for (std::size_t i = 0; i < row.size(); ++i) {
                const auto shown = shown_width(row[i]);
                if (right_[i]) pad(line, shown, widths[i]);
                line += row[i];
                if (!right_[i]) pad(line, shown, widths[i]);
                line += "  ";
            }
            line.erase(line.find_last_not_of(' ') + 1);
            lines.push_back(line + "\n");
        }
        return lines;
    }

  private:
    std::vector<bool> right_;
    std::vector<std::vector<std::string>> rows_;
};

double share_of(const ProgressStatus& p) {
    if (p.bytes_total > 0) return static_cast<double>(p.bytes_done) / static_cast<double>(p.bytes_total);
    if (p.files_total > 0) return static_cast<double>(p.files_done) / static_cast<double>(p.files_total);
    return 0;
}

// "round 0 [#####...............] 25 %, 1.0 GiB of 4.0 GiB, 300 of 1200 files so far, 40 MiB/s, 1 min 17 s left"
std::string progress_line(const ProgressStatus& p) {
    const auto share = std::clamp(share_of(p), 0.0, 1.0);
    const std::string more = p.counting ? " so far" : "";
    std::string line = "round " + std::to_string(p.round) + " " + progress_bar(share, kBarWidth) + " " +
                       std::to_string(static_cast<int>(share * 100)) + " %, " + human_bytes(p.bytes_done) + " of " +
                       human_bytes(p.bytes_total) + ", " + std::to_string(p.files_done) + " of " +
                       std::to_string(p.files_total) + " files" + more;
    if (p.rate >= 1) line += ", " + human_rate(p.rate);
    if (p.rate >= 1 && p.bytes_total >= p.bytes_done && p.bytes_total > 0) {
        line += ", " + human_seconds(static_cast<double>(p.bytes_total - p.bytes_done) / p.rate) + " left";
        if (p.counting) line += " at least";
    }
    return line;
}

std::string plural(std::uint64_t count, const std::string& noun) {
    return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string lag_text(std::uint64_t bytes, std::uint64_t records, double seconds) {
    if (bytes == 0) return "none";
    return human_bytes(bytes) + ", " + plural(records, "record") + ", " + human_seconds(seconds);
}

std::string counters_text(const Counters& counters) {
    std::string text;
    for (const auto& [name, count] : counters) {
        if (count != 0) text += (text.empty() ? "" : ", ") + printable(name) + " " + std::to_string(count);
    }
    return text;
}

// "2 slaves durable, confirming, 3 waiting"; nothing where fsync is about the master alone.
std::string sync_text(const SyncStatus& s) {
    if (s.slaves == 0) return "";
    std::string text = plural(s.slaves, "slave") + " " + printable(s.level) + ", " + printable(s.state);
    if (s.late_seconds > 0) text += " for " + human_seconds(s.late_seconds);
    if (s.waiting != 0) text += ", " + std::to_string(s.waiting) + " waiting";
    if (s.unconfirmed != 0)
        text += ", " + std::to_string(s.unconfirmed) + " of " + plural(s.requests, "fsync") + " not confirmed";
    return text;
}

std::vector<std::string> slave_row(const SlaveRowStatus& s) {
    const bool known = s.state == "streaming" || s.state == "stalled" || s.state == "paused";
    return {printable(s.target),
            printable(s.state),
            known ? human_bytes(s.lag_bytes) : "-",
            known ? std::to_string(s.lag_records) : "-",
            known ? human_seconds(s.lag_seconds) : "-",
            human_rate(s.send_rate),
            human_rate(s.apply_rate),
            human_bytes(s.bytes_sent),
            printable(s.name)};
}

// "10 MiB/s, 2 passes, 0 differences; 127.0.0.1:4710 45% in a/b"
std::string scrub_text(const ScrubStatus& s) {
    if (s.rate == 0) return {};
    std::string text = human_rate(static_cast<double>(s.rate)) + ", " + std::to_string(s.passes) +
                       (s.passes == 1 ? " pass, " : " passes, ") + plural(s.differences, "difference");
    if (s.healed != 0) text += ", " + std::to_string(s.healed) + " healed";
    if (!s.slave.empty()) {
        text += "; " + printable(s.slave) + " " + std::to_string(static_cast<int>(s.share * 100)) + "%";
        if (!s.at.empty()) text += " in " + s.at;
    }
    return text;
}

std::string errors_text(std::uint64_t soft, std::uint64_t hard) {
    return std::to_string(soft) + " soft and " + std::to_string(hard) + " hard errors";
}

// Of a slave that is far behind; "" else.
std::string history_text(const SlaveRowStatus& s) {
    constexpr std::uint64_t kWorthSaying = 50;
    if (!s.history_known || s.history_percent < kWorthSaying) return "";
    if (s.history_lost) return "has fallen out of the history that is kept: will be resynced";
    return "falls out of the history that is kept in " + human_bytes(s.history_left) + " (" +
           std::to_string(s.history_percent) + " % used)";
}

// "40 MiB free, 64 MiB reserved: old history goes"; nothing while there is space.
std::string disk_text(const MasterStatus& s) {
    if (s.free_bytes >= s.reserve_bytes) return "";
    return human_bytes(s.free_bytes) + " free, " + human_bytes(s.reserve_bytes) + " reserved: old history goes";
}

std::string slaves_table(const std::vector<SlaveRowStatus>& slaves) {
    if (slaves.empty()) return "  no slaves\n";
    Table table({"SLAVE", "STATE", "BEHIND", "RECORDS", "AGE", "SENDING", "APPLYING", "SENT", "NAME"},
                {false, false, true, true, true, true, true, true, false});
    for (const auto& slave : slaves) table.add(slave_row(slave));
    const auto lines = table.lines();
    std::string text = lines.front();
    for (std::size_t i = 0; i < slaves.size(); ++i) {
        text += lines[i + 1];
        if (slaves[i].state == "resyncing") text += "    " + progress_line(slaves[i].progress) + "\n";
        if (slaves[i].soft_errors != 0 || slaves[i].hard_errors != 0) {
            text += "    " + errors_text(slaves[i].soft_errors, slaves[i].hard_errors) + "\n";
        }
        if (const auto history = history_text(slaves[i]); !history.empty()) text += "    " + history + "\n";
        if (!slaves[i].detail.empty()) text += "    " + printable(slaves[i].detail) + "\n";
    }
    return text;
}

}  // namespace

std::string render(const MasterStatus& s) {
    std::string out = "master of volume " + printable(s.volume) + " (tdfs " + printable(s.version) + ")\n";
    add_fact(out, "directory", printable(s.directory));
    add_fact(out, "mount", printable(s.mount));
    add_fact(out, "state", printable(s.state));
    add_fact(out, "epoch", printable(s.epoch));
    add_fact(out, "position", printable(s.position));
    add_fact(out, "journal",
             human_bytes(s.journal_bytes) + ", lsn " + std::to_string(s.oldest) + " to " + std::to_string(s.tail) +
                 (s.durable < s.oldest ? ", not synced" : ", durable to " + std::to_string(s.durable)) +
                 (s.compression != 0 ? ", compressed" : ""));
    add_fact(out, "disk", disk_text(s));
    add_fact(out, "sync", sync_text(s.sync));
    if (s.unsettled != 0) add_fact(out, "unsettled", plural(s.unsettled, "object"));
    add_fact(out, "scrub", scrub_text(s.scrub));
    add_fact(out, "memory", human_bytes(s.rss_anon));
    add_fact(out, "fuse", counters_text(s.fuse));
    return out + "\n" + slaves_table(s.slaves);
}

std::string render(const SlaveStatus& s) {
    std::string out = "slave of volume " + printable(s.volume) + " (tdfs " + printable(s.version) + ")\n";
    add_fact(out, "directory", printable(s.directory));
    add_fact(out, "listening", printable(s.listen));
    add_fact(out, "master",
             (s.master.empty() ? std::string() : printable(s.master) + ", ") +
                 (s.connected ? "connected" : "not connected"));
    add_fact(out, "state", printable(s.state));
    if (s.state == "resyncing") add_fact(out, "progress", progress_line(s.progress));
    add_fact(out, "position", printable(s.epoch) + (s.epoch.empty() ? "" : ":") + std::to_string(s.applied));
    add_fact(out, "behind", lag_text(s.lag_bytes, s.lag_records, s.lag_seconds));
    add_fact(out, "received", "lsn " + std::to_string(s.received) + ", durable to " + std::to_string(s.durable));
    add_fact(out, "spool", human_bytes(s.spool_bytes));
    add_fact(out, "records",
             std::to_string(s.applied_records) + " applied, " + std::to_string(s.skipped_records) + " skipped");
    if (s.apply_workers > 1) {
        add_fact(
            out, "workers",
            std::to_string(s.apply_workers) + ": files may be ahead of the position; exact when nothing is behind");
    }
    if (s.soft_errors != 0 || s.hard_errors != 0) add_fact(out, "errors", errors_text(s.soft_errors, s.hard_errors));
    if (s.divergent != 0) {
        add_fact(out, "DIVERGENT",
                 plural(s.divergent, "change") + " by others, " + human_bytes(s.divergent_bytes) + " kept: read " +
                     printable(s.directory) + "/.tdfs/divergent/report");
    }
    add_fact(out, "DIVERGENT", printable(s.divergent_refused));
    add_fact(out, "memory", human_bytes(s.rss_anon));
    add_fact(out, "counts", counters_text(s.counts));
    add_fact(out, "last error", printable(s.last_error));
    return out;
}

}  // namespace tdfs

#include "common/control/inspect_answer.hpp"

#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "common/control/client.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

using nlohmann::json;

static_assert(kInspectNotChecked == static_cast<int>(ControlExit::kNotChecked));

constexpr auto kJobLook = std::chrono::milliseconds(50);
constexpr int kProgressLooks = 5;

json counts_json(const InspectCounts& c) {
    return {{"files", c.files},
            {"bytes", c.bytes},
            {"differences", c.differences},
            {"healed", c.healed},
            {"unreadable", c.unreadable}};
}

Unexpected<std::string> no_order(const std::string& text) { return Unexpected<std::string>(text); }

// "/srv/data/a/" with root "/srv/data" -> "a".
Result<std::string, std::string> relative(const std::string& given, const std::vector<std::string>& roots) {
    std::string path = given;
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    if (path == ".") path.clear();
    if (path.starts_with("./")) path.erase(0, 2);
    if (path.starts_with('/')) {
        bool found = false;
        for (const auto& root : roots) {
            if (root.empty() || found || !(path == root || path.starts_with(root + "/"))) continue;
            path.erase(0, std::min(path.size(), root.size() + 1));
            found = true;
        }
        if (!found) return no_order(printable(given) + " does not lie in the tree (" + printable(roots.front()) + ")");
    }
    if (!is_valid_path(path)) {
        return no_order(printable(given) +
                        " is no path within the tree: name it relative to the tree's root, without ..");
    }
    if (is_within(path, kStateName)) return no_order("the state directory .tdfs is not replicated");
    return path;
}

}  // namespace

Result<InspectStart, std::string> read_inspect_command(const json& command, const std::vector<std::string>& roots) {
    InspectStart order;
    const auto flag = [&](const char* name) {
        const auto at = command.find(name);
        return at != command.end() && at->is_boolean() && at->get<bool>();
    };
    order.full = flag("full");
    order.repair = flag("repair");
    if (const auto rate = command.find("rate"); rate != command.end()) {
        if (!rate->is_number_unsigned()) return no_order("rate must be a number of bytes a second");
        order.rate = rate->get<std::uint64_t>();
    }
    const auto paths = command.find("paths");
    if (paths == command.end()) return order;
    if (!paths->is_array() || paths->size() > kMaxInspectPaths) {
        return no_order("at most " + std::to_string(kMaxInspectPaths) + " paths at once: name a directory above them");
    }
    std::size_t bytes = 0;
    for (const auto& given : *paths) {
        if (!given.is_string()) return no_order("paths must be a list of texts");
        auto path = relative(given.get<std::string>(), roots);
        if (!path) return no_order(path.error());
        bytes += path->size();
        if (bytes > kMaxInspectPathBytes)
            return no_order("the paths are too long together: name a directory above them");
        order.paths.push_back(std::move(*path));
    }
    return order;
}

json to_json(const std::string& slave, const Finding& f) {
    return {{"event", f.kinds == difference::kUnreadable ? "unreadable" : "difference"},
            {"slave", slave},
            {"path", f.path.empty() ? "." : printable(f.path)},
            {"kinds", difference_text(f.kinds)},
            {"healed", f.healed},
            {"detail", f.detail}};
}

json answer_inspect(const ControlRequest& request, const std::vector<InspectTarget>& targets) {
    std::vector<InspectJob::News> last(targets.size());
    bool all_done = false;
    bool gone = false;
    for (int look = 0; !all_done; ++look) {
        all_done = true;
        for (std::size_t i = 0; i < targets.size(); ++i) {
            const bool was_done = last[i].done;
            last[i] = targets[i].job->take();
            all_done = all_done && last[i].done;
            for (const auto& f : last[i].findings) gone = gone || !request.emit(to_json(targets[i].name, f));
            if (was_done || (look % kProgressLooks != 0 && !last[i].done)) continue;
            const auto& p = last[i].progress;
            json line = counts_json(p.counts);
            line["event"] = "progress";
            line["slave"] = targets[i].name;
            line["share"] = last[i].done ? 1.0 : static_cast<double>(p.share) / 1e6;
            line["at"] = p.at;
            gone = gone || !request.emit(line);
        }
        if (all_done) break;
        if (gone || request.cancelled()) {
            for (const auto& target : targets) target.job->cancel();
            return {{"error", "given up"}, {"code", kInspectNotChecked}};
        }
        std::this_thread::sleep_for(kJobLook);
    }
    InspectCounts sum;
    json slaves = json::array();
    std::string errors;
    for (std::size_t i = 0; i < targets.size(); ++i) {
        const auto& counts = last[i].progress.counts;
        json row = counts_json(counts);
        row["slave"] = targets[i].name;
        row["error"] = last[i].error;
        row["left_out"] = last[i].left_out;
        slaves.push_back(std::move(row));
        sum.files += counts.files;
        sum.bytes += counts.bytes;
        sum.differences += counts.differences;
        sum.healed += counts.healed;
        sum.unreadable += counts.unreadable;
        if (!last[i].error.empty()) errors += (errors.empty() ? "" : "; ") + targets[i].name + ": " + last[i].error;
    }
    json answer = counts_json(sum);
    answer["ok"] = true;
    answer["equal"] = sum.differences == 0 && sum.unreadable == 0 && errors.empty();
    answer["problem"] = errors;
    answer["slaves"] = std::move(slaves);
    return answer;
}

}  // namespace tdfs

// The `inspect` command of both daemons: findings and progress as lines, then the result.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "common/control/control.hpp"
#include "common/stream/inspect_job.hpp"

namespace tdfs {

inline constexpr int kInspectNotChecked = 5;  // code of an {"error"}: nothing could be compared

// {"full": true, "repair": true, "rate": N, "paths": [...]} as an order. Paths are relative to the tree's root, or
// absolute beneath one of `roots` (the directory, the mount). The error is one line.
[[nodiscard]] Result<InspectStart, std::string> read_inspect_command(const nlohmann::json& command,
                                                                     const std::vector<std::string>& roots);

// One slave's part.
struct InspectTarget {
    std::string name;
    std::shared_ptr<InspectJob> job;
};
// Emits what the jobs have to tell until all are done; cancels them when the client goes away.
[[nodiscard]] nlohmann::json answer_inspect(const ControlRequest& request, const std::vector<InspectTarget>& targets);

[[nodiscard]] nlohmann::json to_json(const std::string& slave, const Finding& finding);

}  // namespace tdfs

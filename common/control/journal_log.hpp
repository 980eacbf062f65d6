// The `log` command of both daemons: a journal (or spool) in readable lines.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "common/control/control.hpp"
#include "common/journal/journal.hpp"

namespace tdfs {

// Emits {"line": "LSN TIME RECORD"} for every record from `from` (or the oldest kept; a number within a frame means the
// next one is looked for from the oldest) up to `to` (or the tail), and with `follow` goes on until the client leaves.
[[nodiscard]] nlohmann::json answer_log(Journal& journal, const ControlRequest& request);

}  // namespace tdfs

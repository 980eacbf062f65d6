// The command line of tdfsctl as a value.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/ids.hpp"
#include "proto/result.hpp"

namespace tdfs {

enum class CtlCommand { kHelp, kVersion, kStatus, kDrain, kWait, kLog, kPause, kResume, kStop, kInspect };

struct CtlOptions {
    CtlCommand command = CtlCommand::kHelp;
    std::string directory;
    std::string state_dir;
    bool json = false;
    bool watch = false;                                // status
    bool follow = false;                               // log
    std::vector<std::string> slaves;                   // drain, inspect
    std::optional<std::chrono::milliseconds> timeout;  // drain, wait, stop
    Position position;                                 // wait
    std::optional<std::uint64_t> from;                 // log
    std::optional<std::uint64_t> to;                   // log
    bool full = false;                                 // inspect
    bool repair = false;                               // inspect
    std::vector<std::string> paths;                    // inspect
    std::optional<std::uint64_t> rate;                 // inspect: bytes a second
};

[[nodiscard]] const char* tdfsctl_help();
// The error is one line of advice.
[[nodiscard]] Result<CtlOptions, std::string> parse_tdfsctl(int argc, const char* const* argv);

}  // namespace tdfs

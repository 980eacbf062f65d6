// `tdfsctl inspect`: asks, shows findings and progress, says how it ended.
#pragma once

#include "common/control/client.hpp"
#include "common/control/tdfsctl_options.hpp"

namespace tdfs {

// An error with kFailed: differences were found; with kNotChecked: not everything could be compared.
Result<void, ControlError> run_inspect(const CtlOptions& options);

}  // namespace tdfs

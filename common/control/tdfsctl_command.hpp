// Carries one command of tdfsctl out: asks the daemon, prints its answer.
#pragma once

#include "common/control/client.hpp"
#include "common/control/tdfsctl_options.hpp"

namespace tdfs {

Result<void, ControlError> run_tdfsctl(const CtlOptions& options);

}  // namespace tdfs

// The status of a daemon as text for people, lines ended by '\n'. Texts that came over the network are made printable.
#pragma once

#include <string>

#include "common/control/status.hpp"

namespace tdfs {

[[nodiscard]] std::string render(const MasterStatus& status);
[[nodiscard]] std::string render(const SlaveStatus& status);

}  // namespace tdfs

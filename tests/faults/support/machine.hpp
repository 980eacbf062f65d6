// A daemon on a machine that can be started anew.
#pragma once

#include <string>

#include "tests/e2e/harness/process.hpp"

namespace tdfs::faults {

// `command` as it runs when the machine has booted as `boot` says: in a mount namespace of its own, where the kernel's boot
// id is the file `dir`/`boot`, which is made. What is mounted by it shows here too where the place was shared().
e2e::Words on_boot(const std::string& boot, const std::string& dir, const e2e::Words& command);

// Makes `place` a mount of its own whose mounts are seen in all namespaces that are made later.
void share_mounts_at(const std::string& place);

}  // namespace tdfs::faults

// Where the programs of this build are: in TDFS_BIN, which ctest sets, else where a test that was started by hand lies beneath them.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace tdfs::test {

inline std::string built_programs() {
    if (const char* bin = std::getenv("TDFS_BIN"); bin != nullptr) return bin;
    return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
}

}  // namespace tdfs::test

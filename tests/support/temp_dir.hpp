// A directory of a test's own, removed with all it holds when the test ends, also when it fails or is killed.
#pragma once

#include <filesystem>
#include <string>

namespace tdfs::test {

// In the directory for temporary files (TMPDIR), beneath one of the whole program's that goes with it (Janitor).
class TempDir {
  public:
    TempDir();  // throws std::system_error
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] std::string operator/(const std::string& name) const { return path_ / name; }
    [[nodiscard]] std::string dir(const std::string& name) const;  // a new directory in it

  private:
    std::filesystem::path path_;
    int fd_ = -1;
};

}  // namespace tdfs::test

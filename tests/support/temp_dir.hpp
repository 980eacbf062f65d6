// A directory of a test's own, removed with all it holds when the test ends, also when it fails.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/support/catch.hpp"

namespace tdfs::test {

class TempDir {
  public:
    TempDir() {
        std::string name = std::filesystem::temp_directory_path() / "tdfs-test-XXXXXX";
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
        fd_ = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        REQUIRE(fd_ >= 0);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    ~TempDir() {
        ::close(fd_);
        // rm, since it alone does not mind trees deeper than PATH_MAX or than the limit of open files.
        [[maybe_unused]] const int status = std::system(("rm -rf -- '" + path_.string() + "'").c_str());
    }

    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
    int fd_ = -1;
};

}  // namespace tdfs::test

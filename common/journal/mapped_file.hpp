// A file in memory that outlives the process.
#pragma once

#include <cstddef>
#include <string>

#include "common/os/fd.hpp"
#include "proto/errno.hpp"

namespace tdfs {

// What is stored through data() is the kernel's at once: a process killed at any instruction has stored all that came
// before. It reaches the disk some time later, or at flush(). The file's space is allocated before it is mapped, since a
// full disk would otherwise end the process by SIGBUS.
//
// Move-only; owns the mapping. Threads: as for any memory.
class MappedFile {
  public:
    MappedFile() = default;
    // Opens or creates `name` in `dir` and makes it `bytes` long: what was shorter grows by zeros, what was longer is cut.
    static SysResult<MappedFile> open(int dir, const std::string& name, std::size_t bytes);
    MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
    MappedFile& operator=(MappedFile&& other) noexcept;
    ~MappedFile();

    [[nodiscard]] std::byte* data() const { return data_; }
    explicit operator bool() const { return data_ != nullptr; }
    SysResult<void> flush() const;

  private:
    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
};

}  // namespace tdfs

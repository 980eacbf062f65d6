// What the slave's tests share: directories that go away, an applier on one of them, files made by plain system calls.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "common/os/fd.hpp"
#include "proto/record.hpp"
#include "slave/applied_state.hpp"
#include "slave/applier.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

namespace tdfs::test {

OwnFd open_dir(const std::string& path);

// The seed of this run: TDFS_SEED, or a new one; printed.
std::uint64_t random_seed();

// Ends the process if what it is given is an error; the test fails with its text.
template <class T>
T need(Result<T, std::string> r) {
    if (!r) FAIL(r.error());
    return std::move(r).value();
}
inline void need(const Result<void, std::string>& r) {
    if (!r) FAIL(r.error());
}

// A replica directory with its applied state and an applier, as one run of a daemon has them.
class Bench {
  public:
    explicit Bench(std::string root, std::string state_dir, ApplyOptions options = {});
    [[nodiscard]] const std::string& root() const { return root_; }
    [[nodiscard]] int root_fd() const { return root_fd_.get(); }
    AppliedState& state() { return *state_; }
    Applier& applier() { return *applier_; }

    // Applies the record at the applied position, as a frame of 100 bytes. The text of the error, or "".
    std::string apply(const Record& r);
    std::string apply_encoded(const Bytes& record);

  private:
    std::string root_;
    OwnFd root_fd_;
    OwnFd state_fd_;
    std::unique_ptr<AppliedState> state_;
    std::unique_ptr<Applier> applier_;
};

// Applies `record` in a child process that is killed (SIGKILL) at the n-th step, or not at all where there are fewer:
// false then. Fails the test if the child ends in another way.
bool killed_at_step(const std::string& root, const std::string& state_dir, const Bytes& record, int n);

// Plain files. All fail the test where the system refuses.
void put(const std::string& path, const std::string& content, mode_t mode = 0644);
std::string get(const std::string& path);
bool exists(const std::string& path);
void make_dir(const std::string& path, mode_t mode = 0755);

Bytes encoded(const Record& r);

// Records with the fields a test cares about.
CreateRecord file_at(std::string_view path, std::uint32_t mode = 0644, std::uint32_t uid = 0, std::uint32_t gid = 0);
CreateRecord dir_at(std::string_view path, std::uint32_t mode = 0755, std::uint32_t uid = 0, std::uint32_t gid = 0);
CreateRecord symlink_at(std::string_view path, std::string_view target);
WriteRecord write_at(std::string_view path, std::string_view data, std::uint64_t offset = 0);
RenameRecord rename_of(std::string_view path, std::string_view new_path);
RenameRecord exchange_of(std::string_view path, std::string_view new_path);
LinkRecord link_of(std::string_view path, std::string_view new_path);
UnlinkRecord unlink_of(std::string_view path);
RmdirRecord rmdir_of(std::string_view path);
// The same of an object with this inode number.
template <class R>
R of(std::uint64_t ino, R record) {
    record.object.ino = ino;
    return record;
}
AttributesRecord settled(std::string_view path, std::int64_t mtime_ns);

}  // namespace tdfs::test

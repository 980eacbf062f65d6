// Runs the same system calls in two directories and writes down what they answer.
//
// A case is a function that works in its current directory. It is run once on the mount and once on a plain directory
// beside it, each time in a process of its own, as root or as an ordinary user; the two transcripts must be the same.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace tdfs::e2e {

enum class Who { kRoot, kUser };

// The ordinary user: ids, a supplementary group, and ids that are somebody else's.
constexpr uid_t kUserId = 12345;
constexpr gid_t kUserGroup = 12346;
constexpr gid_t kSecondGroup = 12347;
constexpr uid_t kOtherId = 54321;
constexpr gid_t kOtherGroup = 54322;

// What a case is given. Lives in the child process; not thread-safe.
class Probe {
  public:
    explicit Probe(Who who) : who_(who) {}

    [[nodiscard]] bool root() const { return who_ == Who::kRoot; }

    // Notes the result of a system call, errno included, and passes it on.
    long call(const std::string& what, long result);
    // Like call(), for results that are descriptors: their number is not noted.
    int open(const std::string& path, int flags, mode_t mode = 0644);
    int fd(const std::string& what, int result);

    void note(const std::string& what, const std::string& value);
    void note(const std::string& what, std::uint64_t value) { note(what, std::to_string(value)); }

    // Type, mode, owner, links, size and device numbers (not following symlinks).
    void stat(const std::string& path);
    void fstat(const std::string& what, int fd);
    // Of this file content() does not say where it has holes: space that is held and not written to is one or not by what the
    // kernel happens to have cached of it. (Replicas are compared by the extents themselves.)
    void preallocated(const std::string& path) { preallocated_.insert(path); }
    // What a file holds, as a checksum, and where it has holes.
    void content(const std::string& path);
    void content(const std::string& what, int fd);
    // stat() and content() of everything below the current directory.
    void everything();

    // Preparation: no notes; ends the process with a note when it fails.
    void make(const std::string& path, const std::string& text = "content\n", mode_t mode = 0644);
    void must(bool ok, const std::string& what);

    [[nodiscard]] const std::string& transcript() const { return transcript_; }

  private:
    const Who who_;
    std::set<std::string> preallocated_;
    std::string transcript_;
};

// Writes the call itself down as its name.
#define DO(probe, expression) (probe).call(#expression, (expression))

struct Case {
    const char* name;
    void (*run)(Probe&);
    void (*prepare)(Probe&) = nullptr;  // before, as root
};

// Adds a case to the list of the program: const AddCase x{{"name", [](Probe& p) { ... }}};
struct AddCase {
    explicit AddCase(const Case& one);
};
const std::vector<Case>& all_cases();

// Runs `one` in a new directory below `parent` and returns the transcript. The directory belongs to the caller of the case.
std::string run_case(const Case& one, Who who, const std::string& parent);

// Lines that differ, side by side; "" if none.
std::string transcript_differences(const std::string& plain, const std::string& mount);

}  // namespace tdfs::e2e

// Child processes that do not outlive the test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tdfs::e2e {

using Words = std::vector<std::string>;

// One started program. The destructor kills it. It is also killed when the thread that started it ends, so start
// long-lived ones from the test's main thread. Not thread-safe.
class Process {
  public:
    Process() = default;
    // Standard output and error are appended to the file `log`; input is empty. Throws std::runtime_error.
    static Process start(const Words& command, const std::string& log);
    Process(Process&& other) noexcept;
    Process& operator=(Process&& other) noexcept;
    ~Process();

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] bool running();
    void signal(int number) const;
    void kill();  // SIGKILL, and waits for the end
    // Exit status as a shell gives it (128 + signal number); nullopt: still running when patience is at its end.
    std::optional<int> wait(std::chrono::milliseconds timeout);

  private:
    pid_t pid_ = -1;
    std::optional<int> status_;
};

struct Ran {
    int status = -1;  // as a shell gives it; 124: killed after `timeout`
    std::string out;
    std::string err;
};
// Runs a program to its end. `directory` (if not empty) is where it runs.
Ran run(const Words& command, const std::string& directory = "",
        std::chrono::seconds timeout = std::chrono::seconds(300));

// The path of one of our programs: in TDFS_PROGRAMS, else of this build.
std::string program(const std::string& name);

// strace with `inject` done to the system call `call` (strace -e inject=), of a command that is appended or of "-p", a process.
Words tampering_with(const std::string& call, const std::string& inject);

// True if the tool is installed.
bool have_tool(const std::string& name);

// Asks until `condition` says yes; false when patience() is at its end.
bool eventually(const std::function<bool()>& condition);

std::string read_file(const std::string& path);
// Replaces what it held; throws std::runtime_error where that fails.
void write_to(const std::string& path, const std::string& text);

}  // namespace tdfs::e2e

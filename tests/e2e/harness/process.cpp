#include "tests/e2e/harness/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>
#include <utility>

#include "tests/e2e/harness/scale.hpp"
#include "tests/support/programs.hpp"

namespace tdfs::e2e {
namespace {

using Clock = std::chrono::steady_clock;

std::system_error failed(const std::string& what) { return {errno, std::generic_category(), what}; }

struct Pipe {
    int read = -1, write = -1;
    Pipe() {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) {
            throw failed("pipe2");
        }
        read = ends[0];
        write = ends[1];
    }
    ~Pipe() {
        close(read);
        close_write();
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    void close_write() {
        if (write >= 0) {
            close(write);
            write = -1;
        }
    }
};

// Between fork and exec only calls that are safe in the child of a program with threads.
pid_t spawn(const Words& command, const std::string& directory, int out, int err) {
    std::vector<char*> argv;
    argv.reserve(command.size() + 1);
    for (const std::string& word : command) {
        argv.push_back(const_cast<char*>(word.c_str()));  // execvp's signature; it does not write
    }
    argv.push_back(nullptr);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
        throw failed("fork");
    }
    if (pid > 0) {
        return pid;
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int in = open("/dev/null", O_RDONLY);
    if (getppid() != parent || in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 ||
        (!directory.empty() && chdir(directory.c_str()) != 0)) {
        _exit(126);
    }
    execvp(argv[0], argv.data());
    _exit(127);
}

int shell_status(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

Process Process::start(const Words& command, const std::string& log) {
    const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        throw failed(log);
    }
    Process p;
    p.pid_ = spawn(command, "", fd, fd);
    close(fd);
    return p;
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), status_(std::exchange(other.status_, std::nullopt)) {}

Process& Process::operator=(Process&& other) noexcept {
    if (this != &other) {
        kill();
        pid_ = std::exchange(other.pid_, -1);
        status_ = std::exchange(other.status_, std::nullopt);
    }
    return *this;
}

Process::~Process() { kill(); }

bool Process::running() { return pid_ > 0 && !wait(std::chrono::milliseconds(0)); }

void Process::signal(int number) const {
    if (pid_ > 0 && !status_) {
        ::kill(pid_, number);
    }
}

void Process::kill() {
    if (pid_ > 0 && !status_) {
        signal(SIGKILL);
        int status = 0;
        while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        status_ = shell_status(status);
    }
}

std::optional<int> Process::wait(std::chrono::milliseconds timeout) {
    const auto end = Clock::now() + timeout;
    while (pid_ > 0 && !status_) {
        int status = 0;
        const pid_t got = waitpid(pid_, &status, WNOHANG);
        if (got == pid_) {
            status_ = shell_status(status);
        } else if (Clock::now() >= end) {
            return std::nullopt;
        } else {
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
    }
    return status_;
}

Ran run(const Words& command, const std::string& directory, std::chrono::seconds timeout) {
    Pipe out, err;
    const pid_t pid = spawn(command, directory, out.write, err.write);
    out.close_write();
    err.close_write();

    Ran ran;
    std::array<pollfd, 2> open_ends{{{out.read, POLLIN, 0}, {err.read, POLLIN, 0}}};
    std::array<std::string*, 2> into{&ran.out, &ran.err};
    const auto end = Clock::now() + timeout;
    bool killed = false;
    while (open_ends[0].fd >= 0 || open_ends[1].fd >= 0) {
        if (!killed && Clock::now() >= end) {
            kill(pid, SIGKILL);
            killed = true;
        }
        poll(open_ends.data(), open_ends.size(), killed ? 1000 : 100);
        for (std::size_t i = 0; i < open_ends.size(); i++) {
            if (open_ends[i].fd < 0 || open_ends[i].revents == 0) {
                continue;
            }
            char buffer[65536];
            const ssize_t n = read(open_ends[i].fd, buffer, sizeof buffer);
            if (n > 0) {
                into[i]->append(buffer, static_cast<std::size_t>(n));
            } else if (n == 0 || errno != EINTR) {
                open_ends[i].fd = -1;
            }
        }
        if (killed && Clock::now() >= end + std::chrono::seconds(5)) {
            break;  // a grandchild holds the pipe
        }
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    ran.status = killed ? 124 : shell_status(status);
    return ran;
}

std::string program(const std::string& name) {
    const char* other_build = std::getenv("TDFS_PROGRAMS");
    return (other_build != nullptr ? other_build : test::built_programs()) + "/" + name;
}

Words tampering_with(const std::string& call, const std::string& inject) {
    return {"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e", "inject=" + call + ":" + inject};
}

bool have_tool(const std::string& name) {
    return run({"sh", "-c", "command -v \"$1\" >/dev/null", "sh", name}).status == 0;
}

bool eventually(const std::function<bool()>& condition) {
    const auto end = Clock::now() + patience();
    while (!condition()) {
        if (Clock::now() >= end) {
            return false;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
}

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

void write_to(const std::string& path, const std::string& text) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file << text;
    file.close();
    if (!file) {
        throw std::runtime_error("cannot write " + path);
    }
}

}  // namespace tdfs::e2e

#include "tests/faults/support/ledger.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <utility>

#include "tests/e2e/harness/process.hpp"

namespace tdfs::faults {
namespace {

constexpr std::size_t kLineBytes = 64;
constexpr std::uint64_t kMostLines = 1000;      // of one appended file
constexpr std::uint64_t kReplacedLines = 1500;  // at most
constexpr std::uint64_t kNotesToRest = 30, kLongestRestUs = 300'000;

std::string line_of(const std::string& name, std::uint64_t number) {
    std::string text = name + " " + std::to_string(number) + " ";
    text.resize(kLineBytes - 1, '.');
    return text + "\n";
}

std::string lines_of(const std::string& name, std::uint64_t from, std::uint64_t lines) {
    std::string text;
    for (std::uint64_t i = from; i < from + lines; i++) {
        text += line_of(name, i);
    }
    return text;
}

std::string version_of(const std::string& name, std::uint64_t version) {
    std::string text;
    for (std::uint64_t i = 0; i <= version * 7919 % kReplacedLines; i++) {
        text += line_of(name, version);
    }
    return text;
}

class File {
  public:
    File(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
    ~File() { close_now(); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    [[nodiscard]] bool is_open() const { return fd_ >= 0; }
    [[nodiscard]] bool put(const std::string& text) const {
        return write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    }
    [[nodiscard]] bool sync() const { return fsync(fd_) == 0; }
    bool close_now() {
        const int fd = std::exchange(fd_, -1);
        return fd < 0 || close(fd) == 0;
    }

  private:
    int fd_;
};

}  // namespace

Ledger::Ledger(std::string root, const LedgerOptions& options) : root_(std::move(root)), options_(options) {
    for (unsigned i = 0; i < options.threads; i++) {
        threads_.emplace_back([this, i] { work(i); });
    }
}

Ledger::~Ledger() { stop(); }

void Ledger::stop() {
    stop_ = true;
    for (std::thread& thread : threads_) {
        if (thread.joinable()) {
            thread.join();
        }
    }
}

std::size_t Ledger::syncs() const {
    const std::lock_guard lock(mutex_);
    return notes_.size();
}

std::string Ledger::trouble() const {
    const std::lock_guard lock(mutex_);
    return trouble_;
}

bool Ledger::failed(const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (trouble_.empty()) {
        trouble_ = what + ": " + std::strerror(errno);
    }
    return false;
}

// The moment is taken after the call has returned, and so is not before what it has made durable.
void Ledger::note(const std::string& name, std::uint64_t lines, bool replaced) {
    const MomentNs now = moment_now();
    const std::lock_guard lock(mutex_);
    notes_.push_back({name, lines, replaced, now});
}

void Ledger::work(unsigned me) {
    std::mt19937_64 random(me);
    const std::string directory = root_ + "/" + std::to_string(me);
    if (mkdir(directory.c_str(), 0755) != 0) {
        failed(directory);
        return;
    }
    const std::string value = std::to_string(me) + "/value";
    std::string log;
    std::uint64_t logs = 0, lines = kMostLines, version = 0;
    while (!stop_) {
        if (lines >= kMostLines || random() % 20 == 0) {
            log = std::to_string(me) + "/log" + std::to_string(logs++);
            lines = 0;
        }
        const std::uint64_t more = 1 + random() % (random() % 8 == 0 ? 300 : 8);
        if (random() % 5 == 0) {
            if (!replace(directory, value, ++version)) {
                return;
            }
        } else if (append(log, lines, more)) {
            lines += more;
        } else {
            return;
        }
        // Now and then a longer rest: what others write meanwhile is not made durable by these.
        const bool rests = random() % kNotesToRest == 0;
        std::this_thread::sleep_for(std::chrono::microseconds(rests ? random() % kLongestRestUs : options_.pause_us));
    }
}

bool Ledger::append(const std::string& name, std::uint64_t from, std::uint64_t lines) {
    const File file(root_ + "/" + name, O_WRONLY | O_CREAT | O_APPEND);
    if (!file.is_open() || !file.put(lines_of(name, from, lines)) || (options_.fsync && !file.sync())) {
        return failed(name);
    }
    note(name, from + lines, false);
    return true;
}

bool Ledger::replace(const std::string& directory, const std::string& name, std::uint64_t version) {
    const std::string to = root_ + "/" + name, from = to + ".new";
    File file(from, O_WRONLY | O_CREAT | O_TRUNC);
    if (!file.is_open() || !file.put(version_of(name, version)) || (options_.fsync && !file.sync()) ||
        !file.close_now() || rename(from.c_str(), to.c_str()) != 0) {
        return failed(name);
    }
    const File parent(directory, O_RDONLY | O_DIRECTORY);
    if (!parent.is_open() || (options_.fsync && !parent.sync())) {
        return failed(directory);
    }
    note(name, version, true);
    return true;
}

Ledger::Verdict Ledger::check(const std::string& tree, MomentNs moment) const {
    const std::lock_guard lock(mutex_);
    Verdict verdict;
    std::map<std::string, const Note*> wanted;
    for (const Note& one : notes_) {
        if (one.moment > moment) {
            continue;
        }
        verdict.syncs++;
        const Note*& last = wanted[one.name];
        if (last == nullptr || last->lines < one.lines) {
            last = &one;
        }
    }
    for (const auto& [name, one] : wanted) {
        const std::string found = e2e::read_file(tree + "/" + name);
        if (one->replaced) {
            // "NAME VERSION ...": whole, and not an older one.
            const std::string text = found.substr(0, kLineBytes);
            const bool ours = text.size() == kLineBytes && text.starts_with(name + " ");
            const std::uint64_t version = ours ? std::strtoull(text.c_str() + name.size(), nullptr, 10) : 0;
            if (version < one->lines || found != version_of(name, version)) {
                verdict.lost.push_back(name + ": version " + std::to_string(one->lines) + " was synced, now " +
                                       std::to_string(version) + " with " + std::to_string(found.size()) + " bytes");
            }
        } else if (!found.starts_with(lines_of(name, 0, one->lines))) {
            verdict.lost.push_back(name + ": " + std::to_string(one->lines * kLineBytes) +
                                   " bytes were synced, and are not the first of " + std::to_string(found.size()));
        }
    }
    return verdict;
}

}  // namespace tdfs::faults

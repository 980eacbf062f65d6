#include "tests/unit/slave/fixture.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "common/os/file.hpp"

namespace tdfs::test {

namespace {

constexpr std::uint64_t kFrameBytes = 100;

}  // namespace

OwnFd open_dir(const std::string& path) {
    OwnFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(fd);
    return fd;
}

std::uint64_t random_seed() {
    const char* given = std::getenv("TDFS_SEED");
    const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::cout << "TDFS_SEED=" << seed << std::endl;
    return seed;
}

Bench::Bench(std::string root, std::string state_dir, ApplyOptions options)
    : root_(std::move(root)), root_fd_(open_dir(root_)), state_fd_(open_dir(state_dir)) {
    state_ = need(AppliedState::open(state_fd_.get(), "boot"));
    if (!state_->valid()) need(state_->reset({}));
    applier_ = std::make_unique<Applier>(root_fd_.get(), *state_, std::move(options));
    const auto ready = applier_->prepare();
    if (!ready) FAIL(ready.error().text());
}

std::string Bench::apply(const Record& r) {
    const Lsn lsn = state_->point().lsn;
    const auto done = applier_->apply(r, lsn);
    if (!done) return done.error().text();
    state_->advance(lsn + kFrameBytes, 1);
    return "";
}

std::string Bench::apply_encoded(const Bytes& record) {
    const auto r = decode_record(record);
    if (!r) return r.error().what;
    return apply(*r);
}

bool killed_at_step(const std::string& root, const std::string& state_dir, const Bytes& record, int n) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        int steps = 0;
        ApplyOptions options;
        options.at_step = [&](ApplyStep) {
            if (++steps == n) ::kill(::getpid(), SIGKILL);
        };
        Bench bench(root, state_dir, options);
        const auto error = bench.apply_encoded(record);
        if (!error.empty()) std::cerr << error << std::endl;
        ::_exit(error.empty() ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    const bool ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    REQUIRE((killed || ended));
    return killed;
}

void put(const std::string& path, const std::string& content, mode_t mode) {
    const OwnFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    INFO(path);
    REQUIRE(fd);
    REQUIRE(write_all(fd.get(), as_bytes(content), 0).has_value());
}

std::string get(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    INFO(path);
    REQUIRE(in.good());
    return {std::istreambuf_iterator<char>(in), {}};
}

bool exists(const std::string& path) {
    struct stat st {};
    return ::lstat(path.c_str(), &st) == 0;
}

void make_dir(const std::string& path, mode_t mode) {
    INFO(path);
    REQUIRE(::mkdir(path.c_str(), mode) == 0);
}

Bytes encoded(const Record& r) {
    Bytes out;
    encode_record(r, out);
    return out;
}

CreateRecord file_at(std::string_view path, std::uint32_t mode, std::uint32_t uid, std::uint32_t gid) {
    CreateRecord r;
    r.path = path;
    r.mode = S_IFREG | mode;
    r.uid = uid;
    r.gid = gid;
    return r;
}

CreateRecord dir_at(std::string_view path, std::uint32_t mode, std::uint32_t uid, std::uint32_t gid) {
    CreateRecord r = file_at(path, mode, uid, gid);
    r.mode = S_IFDIR | mode;
    return r;
}

CreateRecord symlink_at(std::string_view path, std::string_view target) {
    CreateRecord r;
    r.path = path;
    r.mode = S_IFLNK | 0777;
    r.target = as_bytes(target);
    r.mtime_ns = 1'500'000'000'123'456'789;
    return r;
}

WriteRecord write_at(std::string_view path, std::string_view data, std::uint64_t offset) {
    WriteRecord r;
    r.path = path;
    r.offset = offset;
    r.data = as_bytes(data);
    return r;
}

RenameRecord rename_of(std::string_view path, std::string_view new_path) {
    RenameRecord r;
    r.path = path;
    r.new_path = new_path;
    return r;
}

RenameRecord exchange_of(std::string_view path, std::string_view new_path) {
    RenameRecord r = rename_of(path, new_path);
    r.exchange = true;
    return r;
}

LinkRecord link_of(std::string_view path, std::string_view new_path) {
    LinkRecord r;
    r.path = path;
    r.new_path = new_path;
    return r;
}

UnlinkRecord unlink_of(std::string_view path) {
    UnlinkRecord r;
    r.path = path;
    return r;
}

RmdirRecord rmdir_of(std::string_view path) {
    RmdirRecord r;
    r.path = path;
    return r;
}

AttributesRecord settled(std::string_view path, std::int64_t mtime_ns) {
    AttributesRecord r;
    r.path = path;
    r.valid = AttributesRecord::kMtime | AttributesRecord::kSettled;
    r.mtime_ns = mtime_ns;
    return r;
}

}  // namespace tdfs::test

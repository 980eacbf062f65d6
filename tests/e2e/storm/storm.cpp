#include "tests/e2e/storm/storm.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

#include "tests/e2e/storm/operations.hpp"

namespace tdfs::e2e {
namespace {

// What several threads on the same few names get from any local file system.
bool usual(int error) {
    constexpr int kUsual[] = {ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL, ELOOP,   ENXIO,      EBUSY, ENODATA,
                              EPERM,  EACCES, ESPIPE,  ENODEV, EFAULT,    EAGAIN, ETXTBSY, EOPNOTSUPP, EPIPE};
    return error == 0 || std::find(std::begin(kUsual), std::end(kUsual), error) != std::end(kUsual);
}

// What a mount answers whose daemon goes, has gone or is not there yet. The last two: over io_uring, to what its threads were about to
// take when they were killed.
bool gone(int error) {
    return error == ENOTCONN || error == ECONNABORTED || error == EIO || error == ECANCELED || error == EINTR;
}

}  // namespace

Storm::Storm(std::string root, const StormOptions& options)
    : root_(std::move(root)), options_(options), done_by_(options.threads) {
    signal(SIGPIPE, SIG_IGN);  // fifos lose their readers
    for (unsigned i = 0; i < options.threads; i++) {
        threads_.emplace_back([this, i] { work(i); });
    }
}

Storm::~Storm() { stop(); }

void Storm::stop() {
    stop_ = true;
    wait();
}

void Storm::wait() {
    for (std::thread& thread : threads_) {
        if (thread.joinable()) {
            thread.join();
        }
    }
}

std::string Storm::surprises() const {
    const std::lock_guard lock(mutex_);
    std::string all;
    for (const std::string& one : surprises_) {
        all += one + "\n";
    }
    return all;
}

std::uint64_t Storm::done_by_slowest() const {
    const auto least = std::min_element(done_by_.begin(), done_by_.end(),
                                        [](const auto& a, const auto& b) { return a.load() < b.load(); });
    return least == done_by_.end() ? 0 : least->load();
}

void Storm::work(unsigned me) {
    Operations operations(root_, options_.seed * 1000 + me);
    for (std::size_t i = 0; !stop_ && (options_.operations == 0 || i < options_.operations); i++) {
        const Operations::Done done = operations.any();
        done_++;
        done_by_[me]++;
        if (options_.pause_us != 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(options_.pause_us));
        }
        if (done.error == ENOTCONN) {  // leave the processor to the daemon that is to come back
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        const bool expected = usual(done.error) || (options_.may_fail && gone(done.error)) ||
                              (options_.may_be_full && done.error == ENOSPC);
        if (!expected) {
            const std::lock_guard lock(mutex_);
            if (surprises_.size() < 20) {
                surprises_.push_back(std::string(done.name) + ": " + std::strerror(done.error));
            }
        }
    }
}

}  // namespace tdfs::e2e

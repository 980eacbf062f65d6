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

}  // namespace

Storm::Storm(std::string root, const StormOptions& options) : root_(std::move(root)), options_(options) {
    signal(SIGPIPE, SIG_IGN);  // fifos lose their readers
    for (unsigned i = 0; i < options.threads; i++) {
        threads_.emplace_back([this, i] { work(options_.seed * 1000 + i); });
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

void Storm::work(std::uint64_t seed) {
    Operations operations(root_, seed);
    for (std::size_t i = 0; !stop_ && (options_.operations == 0 || i < options_.operations); i++) {
        const Operations::Done done = operations.any();
        done_++;
        if (options_.pause_us != 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(options_.pause_us));
        }
        if (!options_.may_fail && !usual(done.error)) {
            const std::lock_guard lock(mutex_);
            if (surprises_.size() < 20) {
                surprises_.push_back(std::string(done.name) + ": " + std::strerror(done.error));
            }
        }
    }
}

}  // namespace tdfs::e2e

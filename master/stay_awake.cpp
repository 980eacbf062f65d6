#include "master/stay_awake.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>

#include <spdlog/spdlog.h>

namespace tdfs {

namespace {
// From one look to the next, 4 ms; an application that waits for each does more than a hundred.
constexpr std::uint64_t kFast = 16;
constexpr unsigned kSlowLooks = 5;        // and then it is over
constexpr std::int32_t kAnyLatency = -1;  // PM_QOS_DEFAULT_VALUE
constexpr unsigned kMostCores = 8;
}  // namespace

StayAwake::StayAwake(const std::string& device) : device_(::open(device.c_str(), O_WRONLY | O_CLOEXEC)) {
    if (!device_) spdlog::debug("idle cores are not kept awake: {}: {}", device, std::strerror(errno));
}

void StayAwake::saw(std::uint64_t requests) {
    slow_ = requests >= kFast ? 0 : slow_ + 1;
    if (!awake_ && slow_ == 0) {
        awake_ = true;
        request(0);
    } else if (awake_ && slow_ == kSlowLooks) {
        awake_ = false;
        request(kAnyLatency);
    }
}

void StayAwake::request(std::int32_t latency_us) {
    if (!device_) return;
    // Where it fails, requests cost what they cost without.
    [[maybe_unused]] const auto ignored = ::write(device_.get(), &latency_us, sizeof latency_us);
}

bool StayAwake::worth_it() {
    std::string driver;
    std::ifstream("/sys/devices/system/cpu/cpuidle/current_driver") >> driver;
    return driver == "haltpoll" && std::thread::hardware_concurrency() <= kMostCores;
}

}  // namespace tdfs

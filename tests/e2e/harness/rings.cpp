#include "tests/e2e/harness/rings.hpp"

#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <system_error>

namespace tdfs::e2e {

namespace {
const std::string kSwitch = "/sys/module/fuse/parameters/enable_uring";
}

bool RingsOn::are_on() {
    std::ifstream file(kSwitch);
    return file.get() == 'Y';
}

bool RingsOn::possible() {
    const bool can = ::access(kSwitch.c_str(), R_OK | W_OK) == 0;
    if (!can) std::cout << "no io_uring for FUSE in this kernel, or it cannot be switched on" << std::endl;
    return can;
}

void RingsOn::switch_off() { std::ofstream(kSwitch) << "N" << std::flush; }

RingsOn::RingsOn() {
    const bool were_on = are_on();
    back_.emplace(were_on ? "echo Y >\"$1\"" : "echo N >\"$1\"", kSwitch);
    std::ofstream(kSwitch) << "Y" << std::flush;
    if (!are_on()) throw std::runtime_error(kSwitch + " cannot be switched on");
}

OnCore::OnCore(unsigned core) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    if (::sched_getaffinity(0, sizeof before_, &before_) != 0 || ::sched_setaffinity(0, sizeof one, &one) != 0) {
        throw std::system_error(errno, std::generic_category(), "core " + std::to_string(core));
    }
}

// To where it came from: only the end of that core could keep it from there.
OnCore::~OnCore() { static_cast<void>(::sched_setaffinity(0, sizeof before_, &before_)); }

}  // namespace tdfs::e2e

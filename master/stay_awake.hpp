// Keeps idle cores from halting while requests come fast. A request wakes two cores, one to answer it and one to go on with the answer, and
// on a virtual machine a core that has halted is woken by way of the host, which can take longer than all else (figures: DESIGN.md).
#pragma once

#include <cstdint>
#include <string>

#include "common/os/fd.hpp"

namespace tdfs {

// Holds the kernel's PM QoS request for a wake-up latency of 0 us, under which idle cores poll, as long as requests come fast, and takes
// it back soon after. The kernel takes it back when the process ends, however it ends.
// Source: https://docs.kernel.org/power/pm_qos_interface.html
//
// Owned by FuseMount; used by one thread at a time (the crew's watcher).
class StayAwake {
  public:
    explicit StayAwake(const std::string& device = "/dev/cpu_dma_latency");  // no such device: does nothing
    // So many requests came since the last time, some milliseconds ago.
    void saw(std::uint64_t requests);
    [[nodiscard]] bool awake() const { return awake_; }

    // A virtual machine whose cores wait by polling when told to (the cpuidle driver haltpoll), and of at most eight: each core that is
    // idle is kept awake, also those that nobody is going to wake.
    [[nodiscard]] static bool worth_it();

  private:
    void request(std::int32_t latency_us);

    const OwnFd device_;
    bool awake_ = false;
    unsigned slow_ = 0;  // times in a row
};

}  // namespace tdfs

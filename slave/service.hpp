// What the control socket of tdfs_slave answers.
#pragma once

#include <functional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "common/control/control.hpp"
#include "common/stream/subscriber.hpp"
#include "slave/replica.hpp"

namespace tdfs {

// status, wait, log, inspect, pause, resume, stop. Thread-safe: called from the control server's threads. All references outlive it.
class SlaveService {
  public:
    // `stop` asks main to end, and returns at once. `listen`: address and port, for status.
    SlaveService(Replica& replica, const Subscriber& subscriber, std::string directory, std::string listen,
                 std::function<void()> stop);
    [[nodiscard]] nlohmann::json answer(const ControlRequest& request);

  private:
    [[nodiscard]] nlohmann::json status() const;
    [[nodiscard]] nlohmann::json wait(const ControlRequest& request);
    [[nodiscard]] nlohmann::json inspect(const ControlRequest& request);

    Replica& replica_;
    const Subscriber& subscriber_;
    const std::string directory_;
    const std::string listen_;
    const std::function<void()> stop_;
};

}  // namespace tdfs

// What the master answers on its control socket.
#pragma once

#include <atomic>

#include <nlohmann/json_fwd.hpp>

#include "common/control/control.hpp"
#include "common/stream/publisher.hpp"
#include "master/mount.hpp"
#include "master/mutator.hpp"
#include "master/node_table.hpp"
#include "master/options.hpp"
#include "master/retention.hpp"
#include "master/scrub.hpp"
#include "master/settler.hpp"
#include "master/volume.hpp"
#include "master/write_out.hpp"

namespace tdfs {

// Commands: status, drain, inspect, log, stop (common/control/README.md). Thread-safe: called by the control server's threads. Owned
// by main; everything it refers to outlives it.
class Service {
  public:
    struct Parts {
        const MasterOptions& options;
        const Volume& volume;
        VolumeId volume_id;
        Epoch epoch;
        Journal& journal;
        NodeTable& nodes;
        Mutator& mutator;
        Settler& settler;
        FuseMount& mount;
        Publisher& publisher;
        SyncGate& gate;
        const Retention& retention;
        const Scrub& scrub;
        WriteOut& write_out;
        int stop_requested;  // eventfd
    };
    explicit Service(const Parts& parts) : p_(parts) {}

    nlohmann::json answer(const ControlRequest& request);
    // Until a signal, `stop`, or an unmount.
    void wait_until_stopped(int unmounted_fd) const;

  private:
    nlohmann::json status() const;
    nlohmann::json drain(const ControlRequest& request);
    nlohmann::json inspect(const ControlRequest& request);
    // Targets by what people call them; all where none is named.
    Result<std::vector<std::string>, std::string> targets(const ControlRequest& request) const;
    Parts p_;
};

}  // namespace tdfs

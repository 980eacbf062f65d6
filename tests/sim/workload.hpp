// Programs on the master's mount.
#pragma once

#include <string>

#include "master/file_system.hpp"
#include "tests/sim/cluster.hpp"

namespace tdfs::sim {

// Calls the file system as the kernel would, one call after the other, with pauses, until the cluster has had enough or the
// daemon is asked to stop. What it works on it takes from the model of the master's tree; whether a call succeeds is
// nothing to it.
class Workload {
  public:
    Workload(Cluster& cluster, FileSystem& fs, NodeTable& nodes, Random random);
    void run();

  private:
    // A node that is looked up, with its way down from the root, given back at the end.
    class Found;

    void one();
    void make();
    void write();
    void change_attributes();
    void change_xattr();
    void link_or_rename();
    void remove();
    void sync();
    void unnamed();
    void copy();
    void pause();

    [[nodiscard]] std::string any_path(bool (Object::*is)() const);
    [[nodiscard]] std::string any_name();  // in some directory, maybe taken
    Bytes any_bytes();

    Cluster& cluster_;
    FileSystem& fs_;
    NodeTable& nodes_;
    Random random_;
};

}  // namespace tdfs::sim

// A master and its slaves, as real daemons on this machine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/e2e/harness/link.hpp"
#include "tests/e2e/harness/process.hpp"
#include "tests/e2e/harness/scratch.hpp"

namespace tdfs::e2e {

struct ClusterOptions {
    std::size_t slaves = 1;
    bool compress = false;
    bool over = false;   // the mount covers the backing directory itself
    bool links = false;  // each slave behind a Link
    Words master_args, slave_args;
    bool start = true;  // all daemons at once, and wait until all slaves stream
};

// Below one scratch directory: master (backing directory), mount, slave0, slave1, ..., plain (an ordinary directory to
// compare with) and the daemons' logs. Whatever goes wrong is thrown as std::runtime_error with the reason.
//
// The destructor ends everything; if the running test case has failed it shows the logs, and it fails the test case itself
// when a sanitizer has complained or a daemon has died by itself. Not thread-safe, but for links and paths; daemons are
// started from the thread that lives as long as this.
class Cluster {
  public:
    explicit Cluster(const ClusterOptions& options = {});
    ~Cluster();
    Cluster(const Cluster&) = delete;
    Cluster& operator=(const Cluster&) = delete;

    [[nodiscard]] const std::string& scratch() const { return scratch_.path(); }
    [[nodiscard]] const std::string& backing() const { return backing_; }
    [[nodiscard]] const std::string& mount() const { return mount_; }
    [[nodiscard]] const std::string& plain() const { return plain_; }
    [[nodiscard]] const std::string& replica(std::size_t i = 0) const { return slaves_.at(i).dir; }
    [[nodiscard]] std::size_t slaves() const { return slaves_.size(); }
    [[nodiscard]] std::string master_log() const { return read_file(scratch() + "/master.log"); }
    [[nodiscard]] std::string slave_log(std::size_t i = 0) const { return read_file(slaves_.at(i).log); }
    Link& link(std::size_t i = 0) { return *slaves_.at(i).link; }
    [[nodiscard]] std::uint16_t slave_port(std::size_t i = 0) const { return slaves_.at(i).port; }

    // Each returns when the daemon is ready; start_all() also waits until all slaves stream.
    void start_all();
    void start_master();
    void start_slave(std::size_t i = 0) { start_slave_with(slave_command(i), i); }
    void start_slave_with(const Words& command, std::size_t i = 0);
    // The two halves of a start: the process alone, for tests that do something to it before it is ready; and waiting.
    void launch_master() { launch_master_with(master_command()); }
    void launch_master_with(const Words& command);
    void await_master();
    bool await_master_or_end();  // false: it has ended
    void launch_slave(std::size_t i = 0) { launch_slave_with(slave_command(i), i); }
    void launch_slave_with(const Words& command, std::size_t i = 0);
    void await_slave(std::size_t i = 0);
    bool await_slave_or_end(std::size_t i = 0);
    [[nodiscard]] bool master_runs() { return master_.running(); }
    [[nodiscard]] bool slave_runs(std::size_t i = 0) { return slaves_.at(i).process.running(); }

    void stop_master();                  // umount; it must end with exit status 0
    void stop_slave(std::size_t i = 0);  // SIGTERM; likewise
    void kill_master();                  // kill -9; leaves the dead mount behind
    void kill_slave(std::size_t i = 0);
    void forget_master();  // it was made to end: waits for it, wants status 0
    void forget_slave(std::size_t i = 0);
    int end_of_master();  // the same without a wish: how it ended, as a shell gives it
    int end_of_slave(std::size_t i = 0);
    void freeze_master();  // SIGSTOP; returns when it stands still
    void thaw_master();
    void freeze_slave(std::size_t i = 0);  // likewise
    void thaw_slave(std::size_t i = 0);
    [[nodiscard]] pid_t master_pid() const { return master_.pid(); }
    [[nodiscard]] pid_t slave_pid(std::size_t i = 0) const { return slaves_.at(i).process.pid(); }

    // The command lines, for tests that run a daemon themselves.
    [[nodiscard]] Words master_command() const;
    [[nodiscard]] Words slave_command(std::size_t i = 0) const;
    // tdfsctl on the master.
    Ran ctl(const Words& words) const;

    [[nodiscard]] nlohmann::json master_status() const;
    [[nodiscard]] nlohmann::json slave_status(std::size_t i = 0) const;
    [[nodiscard]] nlohmann::json peer(std::size_t i = 0) const;  // the master's view of one slave
    void wait_streaming();                                       // all slaves

    // Waits until the slaves (all if none is named) have applied everything up to now.
    void drain(const std::vector<std::size_t>& only = {});
    // Each replica against the backing directory (through the mount if that covers it); "" if all are equal.
    // `holes`: also in where files have been written; a copy by hand may differ there.
    [[nodiscard]] std::string differences(bool holes = true) const;

  private:
    struct Slave {
        std::string dir, log;
        std::uint16_t port = 0;
        std::unique_ptr<Link> link;
        Process process;
        bool wanted = false;  // it should be running
    };
    [[nodiscard]] std::string target(std::size_t i) const;
    [[nodiscard]] bool mounted() const;
    static void await_end(Process& process, const std::string& name);
    [[nodiscard]] std::vector<std::string> complaints();
    void end_all();
    void show_logs() const;

    const ClusterOptions options_;
    Scratch scratch_;
    std::string backing_, mount_, plain_;
    Process master_;
    bool master_wanted_ = false;
    std::vector<Slave> slaves_;
    int exceptions_;
};

// tdfsctl on a slave.
Ran slave_ctl(const Cluster& cluster, const std::string& command, std::size_t i = 0);

// A position ("EPOCH:LSN", both hexadecimal) or a number as status prints it, as the byte offset.
std::uint64_t lsn_of(const nlohmann::json& value);

// "" or what a sanitizer has to say in a daemon's log.
std::string sanitizer_report(const std::string& log);

}  // namespace tdfs::e2e

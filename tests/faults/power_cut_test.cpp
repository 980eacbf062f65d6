// Power cuts: a disk as it was at any moment, without some of what had not been flushed, under daemons of a new boot.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <memory>
#include <random>
#include <thread>

#include "common/journal/journal.hpp"
#include "common/os/file.hpp"
#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/e2e/storm/storm.hpp"
#include "tests/faults/support/faulted.hpp"
#include "tests/faults/support/ledger.hpp"
#include "tests/faults/support/machine.hpp"
#include "tests/faults/support/recorded_disk.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;
using namespace tdfs::faults;
using tdfs::Lsn;

namespace {

constexpr std::size_t kCutsOfARecording = 25;
constexpr auto kStretch = std::chrono::milliseconds(500);  // of a recording, for one or more cuts
constexpr std::size_t kCutsOfAStretch = 3;

// Segments and history are small, as the disks are.
const Words kMasterArgs{"--segment-bytes", "8388800", "--retain-bytes", "33555200"};
const Words kSlaveArgs{"--segment-bytes", "8388800"};

enum class Cut { kMaster, kSlave, kBoth, kMasterGone };

// Where files live that make up the disks, in memory: the loop devices' flushes cost nothing.
std::string memory_below(const Scratch& scratch) {
    std::string ram = scratch.dir("ram");
    if (mount("tdfs-test", ram.c_str(), "tmpfs", 0, "mode=0700") != 0) {
        throw std::system_error(errno, std::generic_category(), "tmpfs on " + ram);
    }
    return ram;
}

Loss some_loss(std::mt19937_64& random) {
    constexpr double kShares[] = {0, 0.1, 0.5, 0.9, 1};
    return {kShares[random() % std::size(kShares)], &random};
}

// At any time, or between any two writes: these come in bursts, and in a burst most is at risk.
MomentNs some_moment(const RecordedDisk& disk, MomentNs from, MomentNs to, std::mt19937_64& random) {
    return random() % 3 == 0 ? from + random() % (to - from + 1) : disk.some_entry(from, to, random);
}

std::string lines(const std::vector<std::string>& all) {
    std::string text;
    for (const std::string& one : all) {
        text += one + "\n";
    }
    return text;
}

// Where a journal ends after a power cut.
Lsn kept_until(const std::string& dir) {
    const auto state = tdfs::open_at(AT_FDCWD, dir + "/.tdfs", O_RDONLY | O_DIRECTORY);
    REQUIRE(state);
    const auto journal = tdfs::Journal::open(state->get(), {}, Lsn(), false, nullptr);
    REQUIRE(journal);
    return (*journal)->tail();
}

struct Totals {
    std::size_t cuts = 0, syncs = 0, sectors_lost = 0, resyncs = 0;
};

// A cluster that ran once under a storm, each daemon on a recorded disk, and is then started from one moment after the
// other. A machine that is not cut goes on from a moment at which its daemon stood still with everything written, as after a kill.
class Recorded {
  public:
    Recorded(Cut cut, std::uint64_t seed, std::size_t stretches)
        : cut_(cut), random_(seed), cluster_(options(cut)), ram_(ram_below(cluster_)) {
        share_mounts_at(cluster_.mount());
        master_disk_ = std::make_unique<RecordedDisk>(ram_, "master", cluster_.backing());
        slave_disk_ = std::make_unique<RecordedDisk>(ram_, "slave", cluster_.replica());
        record(seed, stretches);
    }

    // Starts the cluster after one more cut, and checks what must hold then.
    void visit(Totals& totals) {
        const std::size_t stretch = 1 + random_() % (pauses_.size() - 1);
        const MomentNs pause = pauses_[stretch - 1], next = pauses_[stretch];
        const RecordedDisk& disk =
            cut_ == Cut::kSlave || (cut_ == Cut::kBoth && random_() % 2 == 0) ? *slave_disk_ : *master_disk_;
        const MomentNs moment = some_moment(disk, pause, next, random_);
        INFO("cut " << totals.cuts << " of seed's recording, " << (moment - pauses_.front()) / 1'000'000
                    << " ms after its begin");
        if (cut_ == Cut::kMasterGone) {
            visit_without_master(next, totals);
        } else {
            // A slave that lives on has not heard of the master since its pause; a master has worked on until its own.
            const MomentNs of_master = cut_ == Cut::kSlave ? next : moment;
            const MomentNs of_slave = cut_ == Cut::kMaster ? pause : moment;
            visit_both(of_master, of_slave, totals);
        }
        totals.cuts++;
    }

  private:
    static ClusterOptions options(Cut cut) {
        ClusterOptions made{.master_args = kMasterArgs, .slave_args = kSlaveArgs, .start = false};
        if (cut == Cut::kMasterGone) {
            made.master_args.insert(made.master_args.end(), {"--sync", "1", "--sync-timeout", "3600:block"});
        }
        return made;
    }
    static std::string ram_below(const Cluster& cluster) {
        const std::string ram = cluster.scratch() + "/ram";
        if (mkdir(ram.c_str(), 0700) != 0 || ::mount("tdfs-test", ram.c_str(), "tmpfs", 0, "mode=0700") != 0) {
            throw std::system_error(errno, std::generic_category(), ram);
        }
        return ram;
    }

    // What the daemons called durable, a moment before.
    struct Reported {
        MomentNs moment;
        Lsn master, slave;
    };

    void record(std::uint64_t seed, std::size_t stretches) {
        cluster_.launch_slave_with(on_boot("before", ram_, cluster_.slave_command()));
        cluster_.await_slave();
        cluster_.launch_master_with(on_boot("before", ram_, cluster_.master_command()));
        cluster_.await_master();
        cluster_.wait_streaming();
        for (const char* name : {"/storm", "/ledger"}) {
            REQUIRE(mkdir((cluster_.mount() + name).c_str(), 0777) == 0);
        }
        {
            ledger_ = std::make_unique<Ledger>(cluster_.mount() + "/ledger", LedgerOptions{.pause_us = 2000});
            Storm storm(cluster_.mount() + "/storm", {.seed = seed, .threads = 2, .pause_us = 500, .may_fail = true});
            for (std::size_t i = 0; i <= stretches; i++) {
                pauses_.push_back(pause());
                if (i < stretches) {
                    rest(kStretch);
                }
            }
            ledger_->stop();
            storm.stop();
            CHECK(storm.surprises() == "");
            CHECK(ledger_->trouble() == "");
        }
        leave();
        master_disk_->end();
        slave_disk_->end();
    }

    void rest(std::chrono::milliseconds length) {
        const auto end = Clock::now() + length;
        do {
            const std::uint64_t slave = lsn_of(cluster_.slave_status().at("durable"));
            const std::uint64_t master = lsn_of(cluster_.master_status().at("durable"));
            reported_.push_back({moment_now(), Lsn(master), Lsn(slave)});
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        } while (Clock::now() < end);
    }

    // What was reported as durable is there.
    void check_kept(MomentNs of_master, MomentNs of_slave) {
        for (auto one = reported_.rbegin(); cut_ != Cut::kSlave && one != reported_.rend(); ++one) {
            if (one->moment <= of_master) {
                CHECK(kept_until(cluster_.backing()) >= one->master);
                break;
            }
        }
        for (auto one = reported_.rbegin(); cut_ != Cut::kMaster && one != reported_.rend(); ++one) {
            if (one->moment <= of_slave) {
                CHECK(kept_until(cluster_.replica()) >= one->slave);
                break;
            }
        }
    }

    // A moment at which the machine that will not be cut stands still and has everything on its disk.
    MomentNs pause() {
        const bool of_master = cut_ == Cut::kSlave, of_slave = cut_ == Cut::kMaster || cut_ == Cut::kMasterGone;
        if (of_master) {
            cluster_.freeze_master();
            master_disk_->sync();
        }
        if (of_slave) {
            cluster_.freeze_slave();
            slave_disk_->sync();
        }
        const MomentNs moment = moment_now();
        if (of_master) {
            cluster_.thaw_master();
        }
        if (of_slave) {
            cluster_.thaw_slave();
        }
        return moment;
    }

    void visit_both(MomentNs of_master, MomentNs of_slave, Totals& totals) {
        const Loss none;
        const Image master = master_disk_->mount_moment(of_master, cut_ == Cut::kSlave ? none : some_loss(random_));
        const Image slave = slave_disk_->mount_moment(of_slave, cut_ == Cut::kMaster ? none : some_loss(random_));
        totals.sectors_lost += master.lost + slave.lost;
        INFO("sectors lost of those at risk: master " << master.lost << " of " << master.at_risk << ", slave "
                                                      << slave.lost << " of " << slave.at_risk);
        if (random_() % 2 == 0) {
            check_kept(of_master, of_slave);
        }
        const std::size_t resyncs = resyncs_of(cluster_).front();
        cluster_.launch_slave_with(on_boot(cut_ == Cut::kMaster ? "before" : "after", ram_, cluster_.slave_command()));
        cluster_.launch_master_with(on_boot(cut_ == Cut::kSlave ? "before" : "after", ram_, cluster_.master_command()));
        cluster_.await_slave();
        cluster_.await_master();
        cluster_.wait_streaming();
        write_to(cluster_.mount() + "/goes on", std::to_string(totals.cuts));
        cluster_.drain();
        CHECK(cluster_.differences() == "");
        const Ledger::Verdict verdict = ledger_->check(cluster_.backing() + "/ledger", of_master);
        CHECK(lines(verdict.lost) == "");
        totals.syncs += verdict.syncs;
        totals.resyncs += resyncs_of(cluster_).front() - resyncs;
        leave();
    }

    // Nobody but the slave is left. It replays what it has received.
    void visit_without_master(MomentNs pause, Totals& totals) {
        slave_disk_->mount_moment(pause, Loss{});
        cluster_.start_slave_with(on_boot("before", ram_, cluster_.slave_command()));
        REQUIRE(eventually([&] {
            const auto status = cluster_.slave_status();
            return lsn_of(status.at("applied")) == lsn_of(status.at("received"));
        }));
        const Ledger::Verdict verdict = ledger_->check(cluster_.replica() + "/ledger", pause);
        CHECK(lines(verdict.lost) == "");
        totals.syncs += verdict.syncs;
        leave();
    }

    // kill -9, and the dead mount is taken away.
    void leave() {
        cluster_.kill_master();
        cluster_.kill_slave();
        umount2(cluster_.mount().c_str(), MNT_DETACH);
    }

    const Cut cut_;
    std::mt19937_64 random_;
    Cluster cluster_;
    const std::string ram_;
    std::unique_ptr<RecordedDisk> master_disk_, slave_disk_;
    std::unique_ptr<Ledger> ledger_;
    std::vector<MomentNs> pauses_;
    std::vector<Reported> reported_;
};

void cut_again_and_again(Cut cut, std::size_t cuts) {
    if (!have_loop_disks()) {
        return;
    }
    const std::uint64_t seed = seed_for("power cuts");
    Totals totals;
    for (std::size_t recording = 0; totals.cuts < cuts; recording++) {
        const std::size_t now = std::min(cuts - totals.cuts, kCutsOfARecording);
        Recorded recorded(cut, seed + recording, 2 + now / kCutsOfAStretch);
        for (std::size_t i = 0; i < now; i++) {
            recorded.visit(totals);
        }
        std::cout << totals.cuts << " cuts, " << totals.sectors_lost << " sectors lost, " << totals.syncs
                  << " syncs looked for, " << totals.resyncs << " resyncs" << std::endl;
    }
}

// How many of some cuts of a plain file system lose something that a program wrote, with or without fsync.
std::size_t cuts_that_lose(bool fsync, std::size_t cuts, std::uint64_t seed) {
    const Scratch scratch;
    const std::string ram = memory_below(scratch), place = scratch.dir("place");
    std::mt19937_64 random(seed);
    RecordedDisk disk(ram, "disk", place);
    Ledger ledger(place, {.fsync = fsync, .pause_us = 1000});
    const MomentNs begin = moment_now();
    std::this_thread::sleep_for(2 * kStretch);
    ledger.stop();
    const MomentNs end = moment_now();
    CHECK(ledger.trouble() == "");
    disk.end();
    std::size_t losing = 0, syncs = 0;
    for (std::size_t i = 0; i < cuts; i++) {
        const MomentNs moment = some_moment(disk, begin, end, random);
        disk.mount_moment(moment, some_loss(random));
        const Ledger::Verdict verdict = ledger.check(place, moment);
        losing += verdict.lost.empty() ? 0 : 1;
        syncs += verdict.syncs;
        if (fsync) {
            CHECK(lines(verdict.lost) == "");
        }
    }
    std::cout << losing << " of " << cuts << " cuts lost something of " << syncs << " notes" << std::endl;
    return losing;
}

}  // namespace

TEST_CASE("cuts of a plain file system lose what was not synced, and nothing that was") {
    if (!have_loop_disks()) {
        return;
    }
    const std::uint64_t seed = seed_for("control");
    CHECK(cuts_that_lose(true, count_of(5), seed) == 0);
    CHECK(cuts_that_lose(false, count_of(5), seed) > 0);
}

TEST_CASE("a master that lost power has all that was synced, and its slave comes to it") {
    cut_again_and_again(Cut::kMaster, count_of(4));
}

TEST_CASE("a slave that lost power comes to its master again") { cut_again_and_again(Cut::kSlave, count_of(4)); }

TEST_CASE("master and slave that lost power at once have all that was synced, and are the same") {
    cut_again_and_again(Cut::kBoth, count_of(4));
}

TEST_CASE("with --sync 1 a slave whose master's disk is gone has all that was synced") {
    cut_again_and_again(Cut::kMasterGone, count_of(3));
}

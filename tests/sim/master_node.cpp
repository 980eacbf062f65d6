// The master's daemon without its mount: what master/main.cpp builds, in its order, and programs that use it.
#include <spdlog/spdlog.h>

#include "master/file_system.hpp"
#include "master/responder.hpp"
#include "master/retention.hpp"
#include "master/settle_restart.hpp"
#include "master/volume.hpp"
#include "tests/sim/cluster.hpp"
#include "tests/sim/workload.hpp"

namespace tdfs::sim {

namespace {

constexpr std::size_t kDirectories = 64;  // kept open
constexpr std::uint64_t kSegmentBytes = 32 * 1024;

MasterOptions options_of(Cluster& cluster, const Process& p) {
    MasterOptions options;
    options.directory = p.dir;
    options.mountpoint = cluster.base() + "/mount";
    options.allow_empty = true;
    options.segment_bytes = kSegmentBytes;
    options.retain_bytes = cluster.retain_bytes();
    if (!cluster.late_journal()) options.unsynced_segments = 0;
    for (std::size_t id = 1; id <= cluster.slaves(); ++id) {
        options.slaves.push_back({Cluster::host(static_cast<int>(id)), "4710"});
    }
    return options;
}

}  // namespace

void run_master(Cluster& cluster, Process& p) {
    World& world = cluster.world();
    const auto options = options_of(cluster, p);
    auto opened = Volume::open(options);
    if (!opened) return world.say("master: %s", opened.error().c_str());
    Volume& volume = **opened;
    Journal& journal = volume.journal();
    const auto root_info = stat_fd(volume.root());
    if (!root_info) return world.say("master: %s", root_info.error().text().c_str());
    Locks locks;
    NodeTable nodes(volume.root(), *root_info, kDirectories);
    Mutator mutator(journal, options.compress);
    cluster.node(p.id).is_halted = [&mutator] { return mutator.broken(); };
    Settler settler(locks, nodes, mutator, journal);
    if (auto ok = settler.open(volume.state().fd(), journal.tail(), journal.oldest()); !ok) {
        return world.say("master: %s", ok.error().text().c_str());
    }
    const bool left_unsettled = volume.was_killed() || settler.settled_lsn() < journal.tail();
    if (volume.is_another_boot()) {
        if (const auto noted = mutator.note(SyncRecord{}); !noted) {
            world.say("master: the reboot could not be noted: %s", noted.error().text().c_str());
        }
    }
    if (left_unsettled) {
        const auto settled = settle_at_restart(volume.root(), journal, mutator, settler.settled_lsn());
        if (!settled) return world.say("master: %s", settled.error().text.c_str());
        if (!*settled) {
            const auto ok = volume.begin_epoch("the journal is damaged where the last run ended");
            if (!ok) return world.say("master: %s", ok.error().c_str());
        }
    }
    settler.set_settled_lsn(journal.tail());
    const Identity identity = volume.state().identity();
    cluster.master_opened(identity.history.back().first_lsn, journal.tail());

    FileSystem file_system(volume.root(), locks, nodes, mutator, settler, journal);
    TreeHold hold(locks, journal);
    PublisherOptions publisher_options;
    publisher_options.targets = options.slaves;
    publisher_options.name = p.name;
    Publisher publisher(journal, {identity.volume, identity.history}, publisher_options,
                        [&](const ResyncScope& scope) {
                            return std::make_unique<Responder>(volume.root(), volume.epoch(), journal, hold, scope);
                        },
                        {});
    settler.start();
    publisher.start();
    {
        Housekeeper housekeeper([&] {
            const Lsn floor =
                retention_floor(journal.oldest(), journal.tail(), publisher.slowest(), {options.retain_bytes});
            const auto dropped = journal.drop_before(std::min(floor, settler.settled_lsn()));
            if (!dropped) spdlog::error("drop_before: {}", dropped.error().text());
            if (file_system.root_changed()) volume.note_content();
        });
        Workload(cluster, file_system, nodes, world.random.fork()).run();
        settler.settle_all();
    }
    cluster.node(p.id).is_halted = nullptr;
    settler.stop();
    publisher.stop();
    if (auto closed = volume.close(); !closed) world.say("master: %s", closed.error().c_str());
    cluster.operation_done();
    world.say("master has stopped");
}

}  // namespace tdfs::sim

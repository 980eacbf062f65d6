// The slave's daemon: what slave/main.cpp builds, in its order.
#include "common/daemon/guards.hpp"
#include "common/daemon/state_dir.hpp"
#include "common/stream/subscriber.hpp"
#include "slave/replica.hpp"
#include "tests/sim/cluster.hpp"

namespace tdfs::sim {

namespace {

constexpr std::uint64_t kSegmentBytes = 32 * 1024;

ReplicaOptions options_of(const Process& p, Random random, bool slow_storage) {
    ReplicaOptions options;
    options.name = p.name;
    options.spool.segment_bytes = kSegmentBytes;
    if (random.one_in(3)) options.spool_limit_bytes = random.between(1, 64) * 1024;
    options.checkpoints.sync_every_ms = static_cast<std::uint32_t>(random.between(20, 1000));
    options.checkpoints.checkpoint_every_ms = static_cast<std::uint32_t>(random.between(50, 3000));
    if (random.one_in(3)) options.checkpoints.keep_spool_bytes = random.between(1, 64) * 1024;
    if (random.one_in(3)) options.apply.limits = {2, 2};
    if (slow_storage) options.apply_workers = static_cast<unsigned>(random.between(1, 4));
    return options;
}

}  // namespace

void run_slave(Cluster& cluster, Process& p) {
    World& world = cluster.world();
    const auto say = [&](const std::string& text) { world.say("%s: %s", p.name.c_str(), text.c_str()); };
    auto dir = open_directory(p.dir);
    if (!dir) return say(dir.error());
    auto state = StateDir::open(dir->get(), p.dir, "", Role::kSlave);
    if (!state) return say(state.error());
    auto replica = Replica::open(dir->get(), **state, options_of(p, world.random.fork(), cluster.slow_storage()));
    if (!replica) return say(replica.error());
    auto port = tcp_listen(p.name, "4710");
    if (!port) return say(port.error());
    const auto subscriber = Subscriber::on(std::move(*port), {}, **replica);
    if (auto ok = (*replica)->start(); !ok) return say(ok.error());
    subscriber->start();
    const Node& node = cluster.node(p.id);
    world.scheduler.block([&node] { return node.stop_asked; }, kNever);
    subscriber->stop();
    if (auto ok = (*replica)->stop(); !ok) return say(ok.error());
    say("has stopped");
}

}  // namespace tdfs::sim

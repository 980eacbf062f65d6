// The director: brings processes up and down, and at the end everything into order.
#include "tests/sim/cluster.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "common/journal/segment.hpp"

namespace tdfs::sim {

Cluster* the_cluster = nullptr;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kOfStorage = 0x73746f72616765;  // turns the seed into another one
constexpr std::uint64_t kOfJournal = 0x6a6f75726e616c;
constexpr std::uint64_t kOfOutages = 0x6f757461676573;
constexpr std::uint64_t kHealedForNs = 2000 * kMs;    // after that nobody settles or acknowledges anything more
constexpr std::uint64_t kPatienceNs = 400'000 * kMs;  // for what is in order to become equal

}  // namespace

Cluster::Cluster(World& world, const std::string& dir)
    : world_(world),
      dir_(dir),
      slow_storage_(Random(world.settings.seed ^ kOfStorage).one_in(4)),
      late_journal_(Random(world.settings.seed ^ kOfJournal).one_in(4)),
      random_(world.random.fork()),
      spells_(~world.settings.seed),
      outages_(world.settings.seed ^ kOfOutages) {
    const auto slaves = random_.one_in(3) ? 2 : 1;
    for (int id = 0; id <= slaves; ++id) {
        const std::string name = id == 0 ? "master" : host(id);
        const std::string place = dir + "/" + name;
        TDFS_INVARIANT(::mkdir(place.c_str(), 0755) == 0, "a directory can be made");
        world.processes.push_back(std::make_unique<Process>(id, name, place, random_.fork(), spells_.fork()));
        world.processes.back()->boot = name + "-boot-0";
        world.processes.back()->disk.begin();
        Node node;
        node.id = id;
        node.start_at = random_.below(300) * kMs;
        nodes_.push_back(std::move(node));
    }
    TDFS_INVARIANT(::mkdir((dir + "/mount").c_str(), 0755) == 0, "a mountpoint can be made");
    world.yield_in = random_.one_in(2) ? 4 : 32;
    world.call_ns = random_.between(500, 20'000);
    retain_bytes_ = random_.one_in(3) ? random_.between(16, 128) * 1024 : 1ull << 30;
    if (world.settings.disk_trouble && spells_.one_in(2)) spell_at_ = spells_.between(100, 1500) * kMs;
    for (int id = 1; id <= slaves; ++id) {
        auto& quality = world.network.quality(id);
        quality.latency_ns = random_.between(10, 5000) * 1000;
        quality.window_bytes = random_.between(4, 128) * 1024;
    }
}

std::string Cluster::journal_dir(int id) { return world_.process(id).dir + "/.tdfs/journal"; }

void Cluster::run() {
    const auto until = world_.scheduler.now() + random_.between(1000, 6000) * kMs;
    std::uint64_t fault_at = random_.between(300, 1000) * kMs;
    while (world_.scheduler.now() < until) {
        if (world_.scheduler.now() >= fault_at) {
            bring_fault();
            fault_at = world_.scheduler.now() + random_.between(10, 500) * kMs;
        }
        if (world_.scheduler.now() >= spell_at_) bring_bad_spell();
        std::uint64_t next = std::min({fault_at, spell_at_, until, world_.network.next_event()});
        for (const auto& node : nodes_) next = std::min(next, std::max(node.start_at, world_.scheduler.now() + 1));
        world_.scheduler.step(next);
        look_after();
    }
    heal();
    until_equal();
    check_trees();
}

void Cluster::look_after() {
    for (auto& node : nodes_) {
        Process& p = world_.process(node.id);
        if (p.death != Death::kNone) {
            world_.bury(p);
            if (p.death == Death::kPowerLost) power_cut(p);
            p.death = Death::kNone;
            node.start_at = world_.scheduler.now() + random_.between(1, 400) * kMs;
        } else if (!p.alive && node.start_at == kNever) {  // it has ended by itself
            world_.scheduler.kill(p.id);
            world_.bury(p);
            if (world_.settings.power && outages_.one_in(4)) {  // right after what was called a clean stop, perhaps
                world_.say("the machine of %s loses power", p.name.c_str());
                power_cut(p);
            }
            node.start_at = world_.scheduler.now() + random_.between(1, 400) * kMs;
        }
        const bool is_healthy = world_.scheduler.now() >= p.spell.until;
        if (p.alive && is_healthy && node.is_halted && node.is_halted()) node.stop_asked = true;
        if (!p.alive && world_.scheduler.now() >= node.start_at) start(node);
    }
}

void Cluster::start(Node& node) {
    node.start_at = kNever;
    node.stop_asked = false;
    node.state = nullptr;
    node.is_halted = nullptr;
    Process& p = world_.process(node.id);
    p.alive = true;
    world_.say("%s starts", p.name.c_str());
    world_.scheduler.spawn(p.id, [this, &p] {
        p.id == 0 ? run_master(*this, p) : run_slave(*this, p);
        p.alive = false;
    });
}

void Cluster::bring_fault() {
    ++faults_;
    auto& p = world_.process(static_cast<int>(random_.below(nodes_.size())));
    const int slave = static_cast<int>(random_.between(1, slaves()));
    auto& quality = world_.network.quality(slave);
    const auto now = world_.scheduler.now();
    switch (random_.below(10)) {
        case 0:
        case 1:
        case 2:
            if (!p.alive) break;
            p.doom = Death::kKilled;
            p.calls_to_doom = random_.below(random_.one_in(2) ? 30 : 600);
            break;
        case 3:
            if (!p.alive || !world_.settings.power) break;
            p.doom = Death::kPowerLost;
            p.calls_to_doom = random_.below(random_.one_in(2) ? 30 : 600);
            break;
        case 4:
            world_.say("link of %s is cut", host(slave).c_str());
            world_.network.cut(slave);
            break;
        case 5:
            quality.refused = !quality.refused;
            world_.say("link of %s: %s", host(slave).c_str(), quality.refused ? "refused" : "let through");
            if (quality.refused) world_.network.cut(slave);
            break;
        case 6:
            quality.silent = !quality.silent;
            world_.say("link of %s: %s", host(slave).c_str(), quality.silent ? "silent" : "heard");
            break;
        case 7:
            quality.flip_in = quality.flip_in == 0 ? random_.between(5'000, 200'000) : 0;
            break;
        case 8:
            if (!world_.settings.disk_trouble) break;
            world_.say("%s has a full disk", p.name.c_str());
            p.full_until = now + random_.between(1, 800) * kMs;
            break;
        default:
            if (random_.one_in(2)) {
                node(p.id).stop_asked = true;
            } else {
                p.disk.write_back();
            }
    }
}

void Cluster::bring_bad_spell() {
    constexpr std::array<unsigned, 6> kKinds{
        BadSpell::kSyncs,   BadSpell::kSyncs | BadSpell::kContent,
        BadSpell::kContent, BadSpell::kNames,
        BadSpell::kReads,   BadSpell::kSyncs | BadSpell::kContent | BadSpell::kNames | BadSpell::kReads};
    constexpr std::array<std::uint64_t, 4> kOneIn{1, 2, 6, 30};
    Process& p = world_.process(static_cast<int>(spells_.below(nodes_.size())));
    const auto now = world_.scheduler.now();
    p.spell = {now + spells_.between(1, 800) * kMs, kKinds[spells_.below(kKinds.size())],
               kOneIn[spells_.below(kOneIn.size())]};
    world_.say("%s has a failing disk: kinds %u, one call in %llu", p.name.c_str(), p.spell.kinds,
               static_cast<unsigned long long>(p.spell.one_in));
    if ((p.spell.kinds & BadSpell::kSyncs) != 0 && spells_.one_in(2)) p.disk.lose_some(p.chance);
    spell_at_ = now + spells_.between(50, 1500) * kMs;
}

void Cluster::heal() {
    world_.say("everything is healed");
    working_ = false;
    for (auto& node : nodes_) {
        Process& p = world_.process(node.id);
        p.doom = Death::kNone;
        p.full_until = 0;
        p.spell = {};
        node.stop_asked = false;
        if (node.id == 0) continue;
        auto& quality = world_.network.quality(node.id);
        quality.refused = quality.silent = false;
        quality.flip_in = 0;
    }
}

bool Cluster::is_equal() {
    if (!world_.process(0).alive) return false;
    pull();
    return std::all_of(nodes_.begin() + 1, nodes_.end(), [&](const Node& node) {
        return world_.process(node.id).alive && node.applied && node.applied->at == history_.end();
    });
}

void Cluster::until_equal() {
    const auto patience = world_.scheduler.now() + kPatienceNs;
    auto look_at = world_.scheduler.now();
    auto unequal_at = look_at;
    while (world_.scheduler.now() - unequal_at < kHealedForNs) {
        if (world_.scheduler.now() >= look_at) {
            look_at = world_.scheduler.now() + 50 * kMs;
            if (!is_equal()) unequal_at = world_.scheduler.now();
        }
        if (world_.scheduler.now() > patience) {
            std::string where = "does not become equal: history ends at " + std::to_string(history_.end().bytes());
            for (const auto& node : nodes_) {
                where += ", " + world_.process(node.id).name +
                         (!world_.process(node.id).alive ? " is down"
                          : node.id == 0                 ? " is up"
                          : node.applied                 ? " is at " + std::to_string(node.applied->at.bytes())
                                                         : " has no position");
            }
            world_.fail(where);
        }
        std::uint64_t next = std::min(look_at, world_.network.next_event());
        for (const auto& node : nodes_) next = std::min(next, std::max(node.start_at, world_.scheduler.now() + 1));
        world_.scheduler.step(next);
        look_after();
    }
}

}  // namespace tdfs::sim

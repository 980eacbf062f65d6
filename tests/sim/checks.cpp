// What must hold: while it runs, after each power cut, and at the end.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "common/journal/segment.hpp"
#include "proto/path.hpp"
#include "tests/sim/cluster.hpp"

namespace tdfs::sim {

namespace {

constexpr std::uint64_t kLookIn = 12;  // one record in so many
constexpr std::uint64_t kLongestEffectNs =
    40'000'000;  // of slow storage: then records come as fast as they are applied

std::string number(Lsn lsn) { return std::to_string(lsn.bytes()); }

}  // namespace

void Cluster::pull() {
    Lsn at = history_.end();
    if (auto wrong = history_.pull(journal_dir(0)); !wrong.empty()) world_.fail(wrong);
    if (!world_.settings.verbose) return;
    for (const History::Frame* frame = history_.at(at); frame != nullptr; frame = history_.at(at = frame->end)) {
        if (frame->payload.empty()) continue;
        world_.say("history %s: %s", number(at).c_str(), to_text(*decode_record(frame->payload)).c_str());
    }
}

// The master has done nothing else than its journal says, also in what was under way when it was killed.
void Cluster::master_opened(Lsn first, Lsn tail) {
    const Quiet quiet;
    const Tree now = Tree::read(world_.process(0).dir, false);
    if (first != epoch_first_) {
        epoch_first_ = first;
        history_.begin(first, now.copy());
        master_ = history_.cursor_at(first);
    }
    pull();
    reserved_ = tail;
    if (history_.end() < tail) {
        world_.fail("the master's journal ends at " + number(tail) + ", whole frames at " + number(history_.end()));
    }
    if (auto wrong = history_.advance(master_, history_.end()); !wrong.empty()) world_.fail("the master: " + wrong);
    if (auto differs = master_.tree.difference(now, Tree::Times::kIgnored); !differs.empty()) {
        world_.fail("after a restart the master's journal and directory differ at " + number(tail) + ": " + differs);
    }
}

void Cluster::operation_done() {
    const Quiet quiet;
    pull();
    if (auto wrong = history_.advance(master_, history_.end()); !wrong.empty()) world_.fail("the master: " + wrong);
    if (!random_.one_in(2 * kLookIn) || !history_is_complete()) return;
    const Tree now = Tree::read(world_.process(0).dir, false);
    if (auto differs = master_.tree.difference(now, Tree::Times::kIgnored); !differs.empty()) {
        world_.fail("the master's journal and directory differ at " + number(history_.end()) + ": " + differs);
    }
}

void Cluster::synced(const std::string& path) {
    const Object* const object = master_.tree.find(path);
    if (object == nullptr) return;
    // An earlier fsync has told that some of it is lost: that stays so until it is written anew.
    struct stat s {};
    const Process& master = world_.process(0);
    if (::lstat((master.dir + "/" + path).c_str(), &s) != 0 || master.disk.has_lost(s.st_ino)) return;
    std::erase_if(synced_, [&](const SyncedFile& one) { return one.path == path; });
    synced_.push_back({path, history_.end(), *object});
}

void Cluster::applying(AppliedState& state, Lsn end) {
    const Quiet quiet;
    Process& p = world_.process(world_.scheduler.current()->process);
    Node& slave = node(p.id);
    slave.state = &state;
    const Lsn before = state.point().lsn;
    world_.note("applied", end.bytes());
    if (end > history_.end()) pull();
    const auto* const frame = history_.at(before);
    if (frame == nullptr || frame->end != end) {
        world_.fail(p.name + " goes from " + number(before) + " to " + number(end) + ", which is no frame of history");
    }
    goes_on(slave, before);
    if (!slave.applied || slave.applied->at != before) {
        world_.fail(p.name + " goes on at " + number(before) + ", its tree is not known to be there");
    }
    if (auto wrong = history_.advance(*slave.applied, end); !wrong.empty()) world_.fail(p.name + ": " + wrong);
    // While workers have done more than it is about to claim, its tree is no moment of history.
    slave.look_owed |= random_.one_in(kLookIn);
    if (!slave.look_owed || state.is_ahead_of(end)) return;
    slave.look_owed = false;
    const Tree now = Tree::read(p.dir, false);
    if (auto differs = slave.applied->tree.difference(now, Tree::Times::kIgnored); !differs.empty()) {
        world_.fail(p.name + " is not the master as of " + number(end) + ": " + differs);
    }
}

void Cluster::wait_for_storage(Lsn record) {
    if (!slow_storage_) return;
    const auto ns = Random(world_.settings.seed + record.bytes()).below(kLongestEffectNs);
    world_.scheduler.block([] { return false; }, world_.scheduler.now() + ns);
}

void Cluster::resynced(Lsn at) {
    const Quiet quiet;
    Process& p = world_.process(world_.scheduler.current()->process);
    world_.say("%s is resynced at %llu", p.name.c_str(), static_cast<unsigned long long>(at.bytes()));
    pull();
    Node& slave = node(p.id);
    slave.applied = history_.cursor_at(at);
    slave.said_durable = Lsn();
    slave.checkpoint.reset();
    const Tree now = Tree::read(p.dir, false);
    if (auto differs = slave.applied->tree.difference(now, Tree::Times::kIgnored); !differs.empty()) {
        world_.fail(p.name + " is resynced at " + number(at) + " and differs: " + differs);
    }
}

void Cluster::resync_begins() {
    Node& slave = node(world_.scheduler.current()->process);
    slave.before_cut.reset();
    slave.applied.reset();
    slave.said_durable = Lsn();
    slave.checkpoint.reset();
}

void Cluster::acknowledges(const Ack& ack) {
    Node& slave = node(world_.scheduler.current()->process);
    if (ack.received == Lsn()) return;
    goes_on(slave, ack.applied);
    if (ack.applied > ack.received || ack.durable > ack.received) world_.fail("an acknowledgement is out of order");
    slave.said_durable = std::max(slave.said_durable, ack.durable);
}

void Cluster::checkpointed(Lsn at) {
    Node& slave = node(world_.scheduler.current()->process);
    if (slave.applied) slave.checkpoint = at;
}

Lsn Cluster::end_of_frame(Lsn begin) const {
    const auto* const frame = history_.at(begin);
    return frame == nullptr ? begin : frame->end;
}

void Cluster::power_cut(Process& p) {
    if (p.id == 0) pull();  // before some of it is lost
    p.disk.cut_power();
    Node& n = node(p.id);
    p.boot = p.name + "-boot-" + std::to_string(++n.boots);
    if (p.id == 0) return check_fsynced(p);
    check_spool(p, n);
    check_checkpoint(p, n);
    n.said_durable = Lsn();
    n.checkpoint.reset();
    if (n.applied) n.before_cut = std::exchange(n.applied, std::nullopt);  // else it has not gone on since the last one
}

void Cluster::goes_on(Node& slave, Lsn at) {
    if (slave.applied || !slave.before_cut || slave.before_cut->at != at) return;
    slave.applied = std::exchange(slave.before_cut, std::nullopt);
}

// What stood in `was` and was not changed since must stand in the directory now.
void Cluster::untouched(const Process& p, const Tree& was, Lsn since, const std::string& only,
                        const std::string& promise) {
    const Tree now = Tree::read(p.dir, false);
    const auto touched = history_.touched_since(since);
    std::vector<const Object*> changed;
    for (const auto& [path, moved] : touched) {
        changed.push_back(was.find(path));
        if (!moved) continue;
        // Whatever other names it has: it may have been changed by its new path.
        for (const auto& [below, object] : was.objects()) {
            if (is_within(below, path)) changed.push_back(object.get());
        }
    }
    for (const auto& [path, object] : was.objects()) {
        if (!object->is_regular() || is_within(path, kStateName) || (!only.empty() && path != only)) continue;
        if (std::find(changed.begin(), changed.end(), object.get()) != changed.end()) continue;
        const Object* const found = now.find(path);
        if (found == nullptr) world_.fail(promise + ", but after a power cut there is no " + path);
        if (found->data != object->data) world_.fail(promise + ", but after a power cut other content is in " + path);
    }
}

void Cluster::check_fsynced(const Process& master) {
    const auto files = std::move(synced_);
    synced_.clear();
    for (const auto& file : files) {
        // What was under way is not in the journal and may have been done.
        const Object* const object = master_.tree.find(file.path);
        if (std::any_of(busy_.begin(), busy_.end(), [&](const std::string& busy) {
                return is_within(file.path, busy) || (object != nullptr && master_.tree.find(busy) == object);
            })) {
            continue;
        }
        const auto was = history_.cursor_at(file.since);
        untouched(master, was.tree, file.since, file.path, "fsync returned");
    }
}

void Cluster::check_checkpoint(const Process& slave, Node& node) {
    if (!node.checkpoint) return;
    const auto was = history_.cursor_at(*node.checkpoint);
    untouched(slave, was.tree, *node.checkpoint, "", slave.name + " had a checkpoint at " + number(*node.checkpoint));
}

void Cluster::check_spool(const Process& slave, const Node& node) {
    if (node.said_durable == Lsn()) return;
    const auto oldest = oldest_frame(journal_dir(slave.id));
    if (!oldest) world_.fail(slave.name + " has lost its spool in a power cut");
    // What is before the checkpoint may be dropped, and some of what was dropped may be there again.
    const Lsn from = node.checkpoint.value_or(*oldest);
    const Lsn end = scan_frames(journal_dir(slave.id), from, [](const FrameView&) {});
    if (end < node.said_durable) {
        world_.fail(slave.name + " said that it had " + number(node.said_durable) +
                    " durably; after a power cut its spool ends at " + number(end));
    }
}

void Cluster::check_trees() {
    const Quiet quiet;
    pull();
    if (auto wrong = history_.advance(master_, history_.end()); !wrong.empty()) world_.fail("the master: " + wrong);
    const Tree master = Tree::read(world_.process(0).dir, false);
    if (auto differs = master_.tree.difference(master, Tree::Times::kIgnored); !differs.empty()) {
        world_.fail("in the end the master's journal and directory differ: " + differs);
    }
    for (const auto& one : nodes_) {
        if (one.id == 0) continue;
        const Tree replica = Tree::read(world_.process(one.id).dir, false);
        if (auto differs = master.difference(replica, Tree::Times::kCompared); !differs.empty()) {
            world_.fail("in the end " + host(one.id) + " differs from the master: " + differs);
        }
    }
}

}  // namespace tdfs::sim

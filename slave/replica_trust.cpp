// What of a replica is known to be whole: how the last run ended, and disks that fail.
#include <sys/stat.h>

#include <algorithm>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "slave/replica.hpp"

namespace tdfs {

namespace {

bool shares_disk(int one, int other) {
    const auto a = stat_fd(one);
    const auto b = stat_fd(other);
    return a && b && a->device == b->device;
}

}  // namespace

Result<void, std::string> Replica::look_back() {
    const std::string boot = boot_id();
    const bool same_boot = identity_.boot == boot;
    for (const auto& note : state_dir_.healed()) spdlog::warn("state: {}", note);
    auto applied = AppliedState::open(state_dir_.fd(), boot);
    if (!applied) return Unexpected(applied.error());
    applied_ = std::move(*applied);
    auto how = options_.spool;
    if (shares_disk(root_, state_dir_.fd())) {
        spool_leaves_bytes_ = how.segment_bytes;
        how.keep_free_bytes = std::max(how.keep_free_bytes, spool_leaves_bytes_);
    }
    auto spool = Journal::open(state_dir_.fd(), how, identity_.resync_end, same_boot, nullptr);
    if (!spool) return Unexpected(spool.error().text);
    spool_ = std::move(*spool);
    for (const auto& note : spool_->open_report().notes) spdlog::warn("spool: {}", note);
    if (const auto cut = spool_->open_report().cut_bytes; cut != 0) spdlog::info("spool: torn tail cut bytes={}", cut);

    Lsn intact_until;
    if (!identity_.volume.valid()) {
        mode_ = Mode::kFresh;
    } else if (identity_.resyncing && !identity_.unsure && !applied_->distrusted() &&
               (same_boot || identity_.clean_stop || identity_.intact_until != Lsn())) {
        mode_ = Mode::kResyncing;
        intact_until = identity_.intact_until;
    } else {
        damage_ = identity_.resyncing && identity_.unsure ? "what was found damaged before is not compared yet"
                                                          : damage_found(same_boot);
        const auto repairs = healer_.load();
        if (damage_.empty() && !repairs) damage_ = repairs.error();
        mode_ = damage_.empty() ? Mode::kRunning : Mode::kDamaged;
        // After a power loss, what had been made durable is whole.
        const bool checkpointed = !identity_.resyncing && applied_->found() == AppliedState::Found::kEarlierBoot &&
                                  applied_->valid() && repairs.has_value();
        if (mode_ == Mode::kDamaged && checkpointed) intact_until = exact_until(applied_->durable_point().lsn);
    }
    if (mode_ == Mode::kDamaged) spdlog::warn("resync needed: {}", damage_);
    return change_identity([&](Identity& identity) {
        identity.role = Role::kSlave;
        identity.boot = boot;
        identity.clean_stop = false;
        identity.resyncing = mode_ == Mode::kResyncing || mode_ == Mode::kDamaged;
        identity.unsure = mode_ == Mode::kDamaged && intact_until == Lsn();
        identity.intact_until = intact_until;
    });
}

std::string Replica::damage_found(bool same_boot) const {
    using Found = AppliedState::Found;
    const auto at = applied_->point().lsn;
    if (!same_boot && !identity_.clean_stop) return "the machine went down without a clean stop";
    if (applied_->found() == Found::kUnusable) return "the state file applied is damaged: the applied position is lost";
    if (!applied_->valid()) return "the applied position is lost";
    // Of this boot, and not clean: the last checkpoint is behind what has been applied since.
    if (same_boot && !identity_.clean_stop && applied_->found() != Found::kThisBoot) {
        return "the state file applied is of another boot: the applied position is lost";
    }
    if (at < spool_->oldest() || spool_->tail() < at) {
        return "the spool does not hold the applied position " + std::to_string(at.bytes()) + ", only " +
               std::to_string(spool_->oldest().bytes()) + " to " + std::to_string(spool_->tail().bytes());
    }
    return "";
}

// From the syncer's or the checkpointer's thread, at a stop, or after an inspection: what is on the disk is not known any more.
void Replica::failed(const std::string& text) {
    {
        const std::lock_guard lock(mutex_);
        if (mode_ != Mode::kRunning) return;
        mode_ = Mode::kDamaged;
        damage_ = text;
    }
    spdlog::error("resync needed: {}", text);
    distrust_content();
    progressed();
}

// What a disk did not take, it tells of once: from then on it is taken for written, and shown until a reboot. So everything has to be
// compared, and by what is on the disk.
void Replica::distrust_content() {
    applied_->distrust();  // the disk that failed may not take the identity either
    const auto saved = change_identity([](Identity& identity) {
        identity.resyncing = identity.unsure = true;
        identity.intact_until = Lsn();
    });
    if (!saved) spdlog::error("{}", saved.error());
}

// While no position is known: what a resync has brought so far.
Result<void, std::string> Replica::make_durable(const char* at) {
    auto done = checkpointer_->make_durable();
    if (done) return done;
    spdlog::error("{}: {}", at, done.error());
    distrust_content();
    return done;
}

bool Replica::is_unsure() const { return identity_.unsure || applied_->distrusted(); }

}  // namespace tdfs

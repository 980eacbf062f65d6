#include "master/volume.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include <spdlog/spdlog.h>

#include "common/daemon/guards.hpp"
#include "common/os/file.hpp"
#include "master/intent.hpp"
#include "master/settler.hpp"

namespace tdfs {

namespace {
using Text = Unexpected<std::string>;

// A new epoch's first lsn lies beyond all that the old one can have handed out, so that no number ever means two bytes.
constexpr std::uint64_t kEpochGapBytes = 1ull << 40;

std::uint64_t default_reserve(int directory) {
    constexpr std::uint64_t kMost = 64ull << 20;
    struct statvfs s {};
    if (::fstatvfs(directory, &s) != 0) return kMost;
    return std::min(kMost, std::uint64_t{s.f_blocks} * s.f_frsize / 100);
}
}  // namespace

Result<std::unique_ptr<Volume>, std::string> Volume::open(const MasterOptions& options) {
    std::unique_ptr<Volume> v(new Volume);
    if (auto ok = v->check_places(options); !ok) return Text(ok.error());
    if (auto ok = v->open_root(); !ok) return Text(ok.error());
    if (auto ok = check_place(v->root(), v->directory_); !ok) return Text(ok.error());
    auto state = StateDir::open(v->root(), v->directory_, options.state_dir, Role::kMaster);
    if (!state) return Text(state.error());
    v->state_ = std::move(*state);
    if (auto ok = v->check_content(options); !ok) return Text(ok.error());
    if (auto ok = v->open_journal(options); !ok) return Text(ok.error());
    if (v->covers_) {
        if (auto ok = v->cover_.put(v->directory_); !ok) return Text(ok.error());
    }
    return v;
}

// Where a master was killed whose mount covered the directory, its cover still lies there.
Result<void, std::string> Volume::open_root() {
    if (Cover::is_on(directory_)) {
        if (!covers_) {
            if (auto gone = Cover::take_away(directory_); !gone) return gone;
        } else {
            auto tree = Cover::open_beneath(directory_);
            if (!tree) return Text(tree.error());
            tree_ = std::move(*tree);
        }
    }
    auto root = open_directory(tree_ ? proc_fd_path(tree_.get()) : directory_);
    if (!root) return Text(root.error());
    root_ = std::move(*root);
    return {};
}

// A mount whose daemon was killed is taken over: it answers nothing any more, and nobody else can have put it there.
Result<void, std::string> Volume::check_places(const MasterOptions& options) {
    for (const std::string& place : {options.mountpoint, options.directory}) {
        if (!find_stale_mount(place)) continue;
        spdlog::info("mount place=\"{}\": its daemon is gone, taken over", place);
        if (::umount2(place.c_str(), MNT_DETACH) != 0) {
            std::string text("cannot unmount ");
            text.append(place).append(", whose daemon is gone: ").append(Errno::last().text());
            text.append(" (try: umount -l ").append(place).append(")");
            return Text(std::move(text));
        }
    }
    auto directory = canonical_path(options.directory);
    if (!directory) return Text(directory.error());
    directory_ = *directory;
    auto mountpoint = canonical_path(options.mountpoint);
    if (!mountpoint) return Text(mountpoint.error());
    mountpoint_ = *mountpoint;
    const auto exists = stat_at(AT_FDCWD, mountpoint_);
    if (!exists) {
        return Text("cannot mount on " + mountpoint_ + ": " + exists.error().text() + " (make the directory first)");
    }
    if (!exists->is_dir()) return Text("cannot mount on " + mountpoint_ + ": it is not a directory");
    auto inside = is_strictly_beneath(mountpoint_, directory_);
    if (!inside) return Text(inside.error());
    if (*inside) {
        return Text("the mountpoint " + mountpoint_ + " lies inside " + directory_ +
                    ", which it would show: the tree would "
                    "contain itself (mount over " +
                    directory_ + " itself, or elsewhere)");
    }
    auto covered = is_strictly_beneath(directory_, mountpoint_);
    if (!covered) return Text(covered.error());
    if (*covered) {
        return Text("the mountpoint " + mountpoint_ + " would hide " + directory_ +
                    ", which lies inside it (mount over the directory itself, or elsewhere)");
    }
    covers_ = directory_ == mountpoint_;
    return {};
}

Result<void, std::string> Volume::check_content(const MasterOptions& options) {
    auto empty = is_directory_empty(root(), directory_);
    if (!empty) return Text(empty.error());
    const Identity& known = state_->identity();
    const bool emptied = known.boot == boot_id() && !known.clean_stop && Settler::lost_from_root_unnoted(state_->fd());
    if (*empty && known.has_content && !emptied && !options.allow_empty) {
        return Text(directory_ + " is empty, but the volume " + state_->identity().volume.text() +
                    " had content: is the disk not mounted? (--allow-empty if this is meant: it empties the slaves)");
    }
    return {};
}

Result<void, std::string> Volume::open_journal(const MasterOptions& options) {
    Identity identity = state_->identity();
    const std::string boot = boot_id();
    const bool is_new = state_->is_new();
    const bool same_boot = !is_new && identity.boot == boot;
    const bool power_loss = !is_new && !same_boot && (!identity.clean_stop || identity.unsure);
    if (!same_boot) identity.unsure = false;  // a new epoch begins
    was_unsure_ = identity.unsure;
    was_killed_ = same_boot && !identity.clean_stop;
    is_another_boot_ = !is_new && !same_boot;
    if (is_new) {
        identity = Identity{};
        identity.role = Role::kMaster;
        identity.volume = VolumeId::random();
        identity.history = {{random_epoch(), Lsn(0)}};
    }
    JournalOptions journal_options;
    journal_options.segment_bytes = options.segment_bytes;
    journal_options.unsynced_bytes = options.unsynced_segments * options.segment_bytes;
    reserve_bytes_ = options.reserve_bytes ? *options.reserve_bytes : default_reserve(state_->fd());
    journal_options.keep_free_bytes = reserve_bytes_;
    const Lsn first = identity.history.empty() ? Lsn() : identity.history.back().first_lsn;
    auto journal = Journal::open(state_->fd(), journal_options, first, same_boot,
                                 [this](const InFlight& f) { return resolve_intent(root(), f); });
    if (!journal) return Text(journal.error().text);
    journal_ = std::move(*journal);
    const Journal::OpenReport& report = journal_->open_report();
    for (const std::string& note : state_->healed()) spdlog::warn("state note=\"{}\"", note);
    for (const std::string& note : report.notes) spdlog::warn("journal note=\"{}\"", note);
    if (report.cut_bytes > 0 || report.resolved > 0) {
        spdlog::warn("journal tail={} cut_bytes={} resolved={}: the last run was killed", journal_->tail().bytes(),
                     report.cut_bytes, report.resolved);
    }
    // What slaves may have read is gone, or the directory may be ahead of or behind the journal.
    const char* unsure = power_loss                                             ? "the machine went down"
                         : identity.history.empty()                             ? "the state is lost"
                         : report.lost_committed                                ? "the journal lost its end"
                         : report.lost_reservations != 0                        ? "a change in flight is lost"
                         : report.created && !is_new                            ? "the journal is gone"
                         : journal_->tail() < identity.history.back().first_lsn ? "an epoch was about to begin"
                                                                                : nullptr;
    if (unsure != nullptr) {
        if (auto begun = begin_epoch(identity, unsure); !begun) return begun;
    }
    epoch_ = identity.history.back().epoch;
    identity.boot = boot;
    identity.clean_stop = false;
    if (auto saved = state_->save(identity); !saved) return Text(saved.error());
    note_content();
    return {};
}

Result<void, std::string> Volume::begin_epoch(Identity& identity, const std::string& why) {
    const Lsn past = identity.history.empty() ? Lsn() : identity.history.back().first_lsn;
    const Lsn first = std::max(journal_->tail(), past) + kEpochGapBytes;
    if (identity.history.size() >= kMaxEpochs) identity.history.erase(identity.history.begin());
    identity.history.push_back({random_epoch(), first});
    // On record first: where the journal does not follow, the next start finds it ending before its epoch.
    if (auto saved = state_->save(identity); !saved) return Text(saved.error());
    if (auto done = journal_->reset(first); !done)
        return Text("cannot begin a new epoch in the journal of " + directory_ + ": " + done.error().text());
    spdlog::warn("volume={} epoch={:016x} first={}: the end of the last run is not sure ({}); slaves are compared anew",
                 identity.volume.text(), identity.history.back().epoch.id(), first.bytes(), why);
    return {};
}

Result<void, std::string> Volume::begin_epoch(const std::string& why) {
    Identity identity = state_->identity();
    if (auto begun = begin_epoch(identity, why); !begun) return begun;
    epoch_ = identity.history.back().epoch;
    return {};
}

void Volume::note_content() {
    const auto empty = is_directory_empty(root(), directory_);
    if (!empty || state_->identity().has_content == !*empty) return;
    Identity identity = state_->identity();
    identity.has_content = !*empty;
    if (auto saved = state_->save(identity); !saved) spdlog::error("state error=\"{}\"", saved.error());
}

Result<void, std::string> Volume::close() {
    note_content();
    if (auto closed = journal_->close(); !closed) {
        return Text("the journal of " + directory_ + " could not be closed: " + closed.error().text());
    }
    // Or the next start, after a power loss right now, would take the directory for what the journal says. The kernel tells of
    // an error once: that it may have told of one is on record before it is asked, since later processes of this
    // boot would be told that all is well, and must not stop cleanly.
    Identity identity = state_->identity();
    identity.unsure = true;
    if (auto saved = state_->save(identity); !saved) return saved;
    if (::syncfs(root()) != 0) return Text(directory_ + " could not be made durable: " + Errno::last().text());
    identity.clean_stop = true;
    identity.unsure = was_unsure_;
    return state_->save(identity);
}

}  // namespace tdfs

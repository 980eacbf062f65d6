// Stages of one record: refused paths; the note, where the effect cannot be repeated; the effect; what has to be
// corrected after it; the caches are told. This file holds the records that change names, applier_content.cpp the
// others.
#include "slave/applier.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

constexpr std::uint32_t kNoId = 0xffffffff;  // "leave it" to chown, never an owner

bool is_entry(std::string_view path) { return !path.empty() && is_open_to_records(path); }

// What no honest master says: the state directory, the root as a name to make or remove, nobody as an owner.
struct IsAllowed {
    bool operator()(const CreateRecord& r) const { return is_entry(r.path) && r.uid != kNoId && r.gid != kNoId; }
    bool operator()(const LinkRecord& r) const { return is_entry(r.path) && is_entry(r.new_path); }
    bool operator()(const RenameRecord& r) const { return is_entry(r.path) && is_entry(r.new_path); }
    bool operator()(const UnlinkRecord& r) const { return is_entry(r.path); }
    bool operator()(const RmdirRecord& r) const { return is_entry(r.path); }
    bool operator()(const CopyRangeRecord& r) const { return is_entry(r.from_path) && is_entry(r.path); }
    bool operator()(const SyncRecord&) const { return true; }
    template <class R>
    bool operator()(const R& r) const {
        return is_open_to_records(r.path);
    }
};

SysResult<void> rename_at(const Place& from, const Place& to, unsigned flags) {
    if (::syscall(SYS_renameat2, from.dir, from.name.c_str(), to.dir, to.name.c_str(), flags) != 0) return fail_last();
    return {};
}

constexpr unsigned kRenameExchange = 2;  // RENAME_EXCHANGE, which stands in <stdio.h> with GNU extensions only

}  // namespace

std::string ApplyError::text() const {
    if (refused) return std::string("refused: ") + operation;
    return std::string(operation) + ": " + error.text();
}

Applier::Applier(int root, AppliedState& state, ApplyOptions options)
    : options_(std::move(options)), state_(state), tree_(root, options_.limits) {}

Applied Applier::apply(const Record& r, Lsn lsn) {
    if (!std::visit(IsAllowed{}, r)) {
        return Unexpected<ApplyError>(ApplyError{"it names what is not the master's to change", Errno(EPERM), true});
    }
    lsn_ = lsn;
    const ActivityLog::Span at_work(options_.activity);
    auto done = std::visit([this](const auto& one) { return run(one); }, r);
    if (done) step(ApplyStep::kDone);
    return done;
}

void Applier::note(const StartedNote& n) {
    state_.start(lsn_, n, options_.worker);
    step(ApplyStep::kNoted);
}

// An older note of the same record stays as it is: without it, what was done already would be taken for foreign.
bool Applier::note_once() {
    const bool tried = state_.started(lsn_).has_value();
    if (!tried) note({});
    return tried;
}

// Only what this try has noted is taken back: an earlier one may have done it, and failed at what follows.
Unexpected<ApplyError> Applier::not_started(const char* operation, Errno error, bool tried) {
    if (!tried) state_.clear_started(lsn_);
    return apply_error(operation, error);
}

Applied Applier::run(const CreateRecord& r) {
    const auto at = tree_.place(r.path);
    if (!at) return apply_error("find the directory", at.error());
    const bool tried = note_once();
    auto made = creator_.make(*at, r);
    if (!made) {
        if (!tried || made.error().value() != EEXIST) return not_started("create", made.error(), tried);
        // Our own, from before; or someone else's that cannot be told from it, which is as good.
        const auto ours = creator_.looks_new(*at, r);
        if (!ours) return apply_error("look at what was created", ours.error());
        if (!*ours) return not_started("create", made.error(), false);
        made = OwnFd();
    }
    step(ApplyStep::kMade);
    if (auto done = creator_.correct(*at, *made, r); !done) return apply_error("set owner and mode", done.error());
    if (*made) tree_.keep_open(r.path, std::move(*made));
    return {};
}

Applied Applier::run(const LinkRecord& r) {
    const auto from = tree_.place(r.path);
    if (!from) return apply_error("find the directory", from.error());
    const auto to = tree_.place(r.new_path);
    if (!to) return apply_error("find the directory of the new name", to.error());
    if (auto kept = keep(r.path); !kept) return kept;
    const bool tried = note_once();
    if (::linkat(from->dir, from->name.c_str(), to->dir, to->name.c_str(), 0) != 0) {
        const auto error = Errno::last();
        if (!tried || error.value() != EEXIST) return not_started("link", error, tried);
        const auto one = stat_at(from->dir, from->name);
        const auto other = stat_at(to->dir, to->name);
        for (const auto* look : {&one, &other}) {
            if (!*look && is_trouble(look->error())) return apply_error("look at what was linked", look->error());
        }
        if (!one || !other || one->object.ino != other->object.ino) return not_started("link", error, false);
    }
    step(ApplyStep::kMade);
    return {};
}

Applied Applier::run(const UnlinkRecord& r) { return remove(r.path, 0, "unlink"); }
Applied Applier::run(const RmdirRecord& r) { return remove(r.path, AT_REMOVEDIR, "rmdir"); }

Applied Applier::remove(std::string_view path, int flags, const char* operation) {
    const auto at = tree_.place(path);
    if (!at) return apply_error("find the directory", at.error());
    if (flags == 0) {
        if (auto kept = keep(path, Fate::kGone); !kept) return kept;
    }
    const bool tried = note_once();
    tree_.removed(path);  // closes it, so that its space is free at once
    if (::unlinkat(at->dir, at->name.c_str(), flags) != 0) {
        const auto error = Errno::last();
        if (!tried || error.value() != ENOENT) return not_started(operation, error, tried);
    }
    step(ApplyStep::kMade);
    return {};
}

Applied Applier::run(const RenameRecord& r) {
    const auto from = tree_.place(r.path);
    if (!from) return apply_error("find the directory", from.error());
    const auto to = tree_.place(r.new_path);
    if (!to) return apply_error("find the directory of the new name", to.error());
    if (r.exchange) return exchange(r, *from, *to);

    bool done = false;
    if (const auto noted = state_.started(lsn_)) {
        const auto there = stat_at(to->dir, to->name);
        if (!there && is_trouble(there.error())) return apply_error("look at what was renamed", there.error());
        done = there && there->object.ino == noted->ino;
    }
    if (!done) {
        const auto moving = stat_at(from->dir, from->name);
        if (!moving) return not_started("rename", moving.error(), is_trouble(moving.error()));
        if (auto kept = keep(r.path); !kept) return kept;
        if (auto kept = keep(r.new_path, Fate::kGone); !kept) return kept;
        note({moving->object.ino, 0});
        if (auto renamed = rename_at(*from, *to, 0); !renamed) return not_started("rename", renamed.error(), false);
    }
    step(ApplyStep::kMade);
    tree_.renamed(r.path, r.new_path);
    return {};
}

Applied Applier::exchange(const RenameRecord& r, const Place& from, const Place& to) {
    const auto one = stat_at(from.dir, from.name);
    if (!one) return not_started("exchange", one.error(), is_trouble(one.error()));
    const auto other = stat_at(to.dir, to.name);
    if (!other) return not_started("exchange", other.error(), is_trouble(other.error()));
    const auto noted = state_.started(lsn_);
    const bool done = noted && one->object.ino == noted->other_ino && other->object.ino == noted->ino;
    if (!done) {
        for (const auto& path : {r.path, r.new_path}) {
            if (auto kept = keep(path); !kept) return kept;
        }
        note({one->object.ino, other->object.ino});
        if (auto swapped = rename_at(from, to, kRenameExchange); !swapped)
            return not_started("exchange", swapped.error(), false);
    }
    step(ApplyStep::kMade);
    tree_.exchanged(r.path, r.new_path);
    return {};
}

Applied Applier::run(const SyncRecord&) { return {}; }

}  // namespace tdfs

// Opening goes in this order, so that nothing is written before everything fits: the state directory (where it is
// elsewhere), its lock, its identity, the marker in DIR; then DIR/.tdfs, and its lock.
#include "common/daemon/state_dir.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <optional>

#include "common/daemon/identity.hpp"
#include "common/os/file.hpp"
#include "common/os/retry.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

constexpr mode_t kPrivate = 0700;
constexpr const char* kLockName = "lock";

Unexpected<std::string> refuse(const std::string& why) { return Unexpected<std::string>(why); }

Unexpected<std::string> refuse(const std::string& what, const std::string& where, Errno e) {
    return refuse("cannot " + what + " " + where + ": " + e.text());
}

// Opens the directory `name` in `parent`, making it (mode 0700) where it is missing.
Result<OwnFd, std::string> open_private_dir(int parent, const std::string& name, const std::string& shown) {
    if (::mkdirat(parent, name.c_str(), kPrivate) != 0 && errno != EEXIST) {
        return refuse("create the directory", shown, Errno::last());
    }
    auto fd = open_at(parent, name, O_RDONLY | O_DIRECTORY);
    if (!fd) return refuse("open the directory", shown, fd.error());
    return std::move(*fd);
}

// The lock is the descriptor: it ends with the process, however that ends.
Result<OwnFd, std::string> take_lock(int dir, const std::string& shown, const std::string& dir_name) {
    auto file = open_at(dir, kLockName, O_RDWR | O_CREAT, 0600);
    if (!file) return refuse("open", shown + "/" + kLockName, file.error());
    if (retry_interrupted([&] { return ::flock(file->get(), LOCK_EX | LOCK_NB); }) == 0) return std::move(*file);
    if (errno != EWOULDBLOCK) return refuse("lock", shown + "/" + kLockName, Errno::last());
    return refuse(dir_name + ": another tdfs daemon runs there (it holds " + shown + "/" + kLockName + ")");
}

// Where the identity is damaged, the marker tells the volume and the role, and all else can be found out again: a master
// begins a new epoch, a slave is resynced.
Result<std::optional<StoredIdentity>, std::string> read_identity(int state, const std::string& shown,
                                                                 const std::optional<Marker>& marker,
                                                                 std::vector<std::string>& healed) {
    const auto raw = read_file(state, kIdentityName, kMaxIdentityBytes);
    if (!raw && raw.error().value() == ENOENT) return std::optional<StoredIdentity>();
    const auto name = shown + "/" + kIdentityName;
    if (!raw) return refuse("read", name, raw.error());
    auto stored = identity_from_json(as_text(*raw));
    if (stored) return std::optional<StoredIdentity>(std::move(*stored));
    const auto& wrong = stored.error();
    if (wrong.other_program) return refuse(name + ": " + wrong.text + ": start the program that wrote it");
    if (!marker) {
        return refuse(name + " is damaged (" + wrong.text + "): restore it from a backup, or remove " + shown +
                      " to start anew with a full resync");
    }
    healed.push_back(name + " was damaged (" + wrong.text + "); made anew for volume " + marker->volume.text());
    StoredIdentity anew;
    anew.marked = true;
    anew.identity.role = marker->role;
    anew.identity.volume = marker->volume;
    anew.identity.has_content = true;  // the careful guess
    anew.identity.resyncing = marker->role == Role::kSlave && marker->volume.valid();
    anew.identity.unsure = anew.identity.resyncing;
    return std::optional<StoredIdentity>(std::move(anew));
}

// `damaged`: there is a marker, and nobody can tell what it says.
Result<std::optional<Marker>, std::string> read_marker(int dir, const std::string& dir_name, bool& damaged) {
    const auto shown = join(dir_name, std::string(kStateName) + "/" + kMarkerName);
    const auto holder = open_at(dir, std::string(kStateName), O_PATH | O_DIRECTORY);
    if (!holder && holder.error().value() == ENOENT) return std::optional<Marker>();
    if (!holder) return refuse("open the directory", join(dir_name, kStateName), holder.error());
    const auto raw = read_file(holder->get(), kMarkerName, kMaxMarkerBytes);
    if (!raw && raw.error().value() == ENOENT) return std::optional<Marker>();
    if (!raw) return refuse("read", shown, raw.error());
    const auto marker = parse_marker(as_text(*raw));
    damaged = !marker;
    return marker;
}

std::string describe(const VolumeId& volume) {
    return volume.valid() ? "volume " + volume.text() : "a volume without an id yet";
}

Unexpected<std::string> refuse_role(const std::string& dir_name, const VolumeId& volume, Role is, Role wanted) {
    return refuse(dir_name + " is the directory of a " + to_text(is) + " (" + describe(volume) +
                  ") and cannot be used by a " + to_text(wanted) +
                  (is == Role::kSlave ? ": there is no promotion of a slave; use its files by copying them elsewhere"
                                      : ": a slave needs a directory of its own"));
}

// What DIR and the state say about each other. No error: they fit.
Result<void, std::string> check_fit(const std::string& dir_name, const std::string& state_name,
                                    const std::optional<StoredIdentity>& stored, const std::optional<Marker>& marker,
                                    Role role) {
    if (stored && stored->identity.role != role) {
        return refuse_role(dir_name, stored->identity.volume, stored->identity.role, role);
    }
    if (marker && marker->role != role) return refuse_role(dir_name, marker->volume, marker->role, role);
    if (marker && !stored) {
        return refuse(dir_name + " belongs to " + describe(marker->volume) + ", but " + state_name +
                      " has no state of it: was it started with another --state-dir? (Or remove " + dir_name + "/" +
                      std::string(kStateName) + " to begin anew)");
    }
    if (!stored) return {};
    const auto& volume = stored->identity.volume;
    if (!marker && stored->marked) {
        return refuse(dir_name + " has no " + std::string(kStateName) + "/" + kMarkerName + " but the state in " +
                      state_name + " belongs to " + describe(volume) + ": is it not mounted?");
    }
    // An id that was on its way to the marker when the power went: the old marker was of no volume yet.
    const bool on_its_way = !stored->marked && marker && !marker->volume.valid();
    if (marker && marker->volume != volume && !on_its_way) {
        return refuse(dir_name + " belongs to " + describe(marker->volume) + ", but the state in " + state_name +
                      " to " + describe(volume) + ": these two do not go together");
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<StateDir>, std::string> StateDir::open(int dir, const std::string& dir_name,
                                                              const std::string& state_dir, Role role) {
    std::unique_ptr<StateDir> opened(new StateDir);
    const auto marker_name = join(dir_name, kStateName);
    opened->name_ = state_dir.empty() ? marker_name : state_dir;

    bool marker_damaged = false;
    auto marker = read_marker(dir, dir_name, marker_damaged);
    if (!marker) return refuse(marker.error());
    if (!state_dir.empty()) {
        auto state = open_private_dir(AT_FDCWD, state_dir, state_dir);
        if (!state) return refuse(state.error());
        opened->fd_ = std::move(*state);
        auto lock = take_lock(opened->fd_.get(), state_dir, dir_name);
        if (!lock) return refuse(lock.error());
        opened->lock_ = std::move(*lock);
        const auto stored = read_identity(opened->fd_.get(), state_dir, *marker, opened->healed_);
        if (!stored) return refuse(stored.error());
        opened->healed_.clear();  // it is read once more below
        if (marker_damaged && *stored) {
            const auto line = to_text(Marker{(*stored)->identity.volume, (*stored)->identity.role});
            return refuse(marker_name + "/" + kMarkerName + " is damaged: if " + dir_name +
                          " is the right directory, write the line \"" + line.substr(0, line.size() - 1) +
                          "\" into it");
        }
        if (auto fit = check_fit(dir_name, state_dir, *stored, *marker, role); !fit) return refuse(fit.error());
    }

    auto own = open_private_dir(dir, std::string(kStateName), marker_name);
    if (!own) return refuse(own.error());
    opened->marker_ = std::move(*own);
    auto lock = take_lock(opened->marker_.get(), marker_name, dir_name);
    if (!lock) return refuse(lock.error());
    opened->marker_lock_ = std::move(*lock);
    if (state_dir.empty()) {
        auto again = open_at(opened->marker_.get(), "", O_RDONLY | O_DIRECTORY);
        if (!again) return refuse("open the directory", marker_name, again.error());
        opened->fd_ = std::move(*again);
    }

    auto stored = read_identity(opened->fd_.get(), opened->name_, *marker, opened->healed_);
    if (!stored) return refuse(stored.error());
    if (marker_damaged) {
        const auto shown = marker_name + "/" + kMarkerName;
        if (!*stored) {
            return refuse(shown +
                          " is damaged: it should be one line \"volume UUID master\" or \"... slave\"; remove " +
                          marker_name + " to begin anew");
        }
        opened->healed_.push_back(shown + " was damaged; written anew from " + kIdentityName);
        marker = std::optional<Marker>(Marker{(*stored)->identity.volume, (*stored)->identity.role});
    }
    if (auto fit = check_fit(dir_name, opened->name_, *stored, *marker, role); !fit) return refuse(fit.error());
    opened->identity_.role = role;
    if (*stored) {
        opened->is_new_ = false;
        opened->identity_ = std::move((*stored)->identity);
        opened->marked_ =
            !marker_damaged && *marker && (*marker)->volume == opened->identity_.volume && (*stored)->marked;
    }
    return opened;
}

Result<void, std::string> StateDir::save(const Identity& identity) {
    const auto write = [&](int where, const char* name, const std::string& text) -> Result<void, std::string> {
        const auto written = replace_file(where, name, as_bytes(text));
        if (!written) return refuse("write", name_ + "/" + name, written.error());
        return {};
    };
    // Three writes where the marker changes, so that a crash between them is told from a directory that is not mounted.
    const bool marked = marked_ && identity.volume == identity_.volume && identity.role == identity_.role;
    if (auto saved = write(fd(), kIdentityName, identity_to_json({identity, marked})); !saved) return saved;
    identity_ = identity;
    is_new_ = false;
    marked_ = marked;
    if (marked) return {};

    const auto text = to_text(Marker{identity.volume, identity.role});
    if (auto saved = write(marker_fd(), kMarkerName, text); !saved) return saved;
    if (auto saved = write(fd(), kIdentityName, identity_to_json({identity, true})); !saved) return saved;
    marked_ = true;
    return {};
}

}  // namespace tdfs

#include "slave/brake.hpp"

#include <utility>

#include <spdlog/spdlog.h>

#include "common/daemon/checked_json.hpp"
#include "common/os/file.hpp"
#include "common/os/utc.hpp"

namespace tdfs {

namespace {

constexpr const char* kPauseFile = "pause";
constexpr std::size_t kMaxPauseBytes = 64 * 1024;
constexpr std::size_t kMaxNamedBytes = 512;  // of a path in a message

struct IsDeletion {
    bool operator()(const UnlinkRecord& r) const { return !is_within(r.path, kStateName); }
    bool operator()(const RmdirRecord& r) const { return !is_within(r.path, kStateName); }
    bool operator()(const RenameRecord& r) const {
        return !r.exchange && r.replaced != ObjectId{} && !is_within(r.new_path, kStateName);
    }
    template <class R>
    bool operator()(const R&) const {
        return false;
    }
};

}  // namespace

bool is_deletion(const Record& r) { return std::visit(IsDeletion{}, r); }

Brake::Brake(int state_dir, const std::optional<DeleteLimit>& limit, DeleteCount::Objects objects)
    : state_dir_(state_dir),
      limit_(limit),
      deletions_(limit.value_or(DeleteLimit{}), objects),
      removals_(limit.value_or(DeleteLimit{}), std::move(objects)) {}

Result<std::unique_ptr<Brake>, std::string> Brake::open(int state_dir, const std::optional<DeleteLimit>& limit,
                                                        DeleteCount::Objects objects) {
    std::unique_ptr<Brake> brake(new Brake(state_dir, limit, std::move(objects)));
    const auto raw = read_file(state_dir, kPauseFile, kMaxPauseBytes);
    if (!raw && raw.error().value() == ENOENT) return brake;
    if (!raw && is_trouble(raw.error())) {
        return Unexpected("the state file " + std::string(kPauseFile) + " cannot be read: " + raw.error().text());
    }
    const auto read = raw ? read_checked_text(as_text(*raw)) : CheckedJson{};
    auto& kept = brake->kept_;
    try {
        const auto& o = read.value;
        kept.why = o.at("why").get<std::string>();
        kept.since_ns = o.at("since_ns").get<std::uint64_t>();
        kept.by_limit = o.at("by_limit").get<bool>();
        kept.released_to = Lsn(o.at("released_to").get<std::uint64_t>());
        kept.resync_released = o.at("resync_released").get<bool>();
        if (!read.is_whole) kept.why.clear();
    } catch (const nlohmann::json::exception&) {
        kept = Kept{};
    }
    if (!raw || !read.is_whole || kept.since_ns == 0) {
        kept = Kept{};
        brake->trip(
            std::string("the state file ") + kPauseFile + " is damaged, and nobody can tell whether it was paused",
            false);
    }
    brake->paused_ = !kept.why.empty();
    if (brake->paused_) spdlog::warn("{}", brake->text());
    return brake;
}

std::string Brake::text() const {
    const std::lock_guard lock(mutex_);
    if (kept_.why.empty()) return "";
    return "paused since " + utc_text(kept_.since_ns) + ": " + kept_.why + "; tdfsctl resume goes on";
}

Result<void, std::string> Brake::save() {
    const auto text = to_checked_text({{"why", kept_.why},
                                       {"since_ns", kept_.since_ns},
                                       {"by_limit", kept_.by_limit},
                                       {"released_to", kept_.released_to.bytes()},
                                       {"resync_released", kept_.resync_released}});
    if (auto done = replace_file(state_dir_, kPauseFile, as_bytes(text)); !done) {
        return Unexpected("the state file " + std::string(kPauseFile) + " cannot be written: " + done.error().text());
    }
    return {};
}

void Brake::trip(std::string why, bool by_limit) {
    kept_.why = std::move(why);
    kept_.by_limit = by_limit;
    kept_.since_ns = wall_clock_ns();
    paused_ = true;
    // Where it cannot be saved, it is paused all the same for as long as this process runs.
    if (auto saved = save(); !saved) spdlog::error("{}", saved.error());
}

Result<void, std::string> Brake::pause() {
    {
        const std::lock_guard lock(mutex_);
        if (!kept_.why.empty()) return {};
        kept_.why = "tdfsctl pause was given";
        kept_.by_limit = false;
        kept_.since_ns = wall_clock_ns();
        if (auto saved = save(); !saved) {
            kept_.why.clear();
            return saved;
        }
        paused_ = true;
    }
    spdlog::warn("paused by tdfsctl");
    if (told_) told_();
    return {};
}

Result<void, std::string> Brake::resume(Lsn received) {
    {
        const std::lock_guard lock(mutex_);
        if (kept_.why.empty()) return {};
        const Kept before = kept_;
        kept_.why.clear();
        if (kept_.by_limit) {
            kept_.released_to = received;
            kept_.resync_released = true;
        }
        if (auto saved = save(); !saved) {
            kept_ = before;
            return saved;
        }
        deletions_.clear();
        removals_.clear();
        paused_ = false;
    }
    spdlog::info("resumed by tdfsctl, up to lsn={}", received.bytes());
    if (told_) told_();
    return {};
}

bool Brake::admit(const Record& r, Lsn lsn, std::uint64_t time_ns, const std::function<std::string()>& waiting) {
    if (!limit_ || !is_deletion(r)) return true;
    const std::lock_guard lock(mutex_);
    if (lsn < kept_.released_to || deletions_.admit(time_ns, 1)) return true;
    auto what = to_text(r);
    if (what.size() > kMaxNamedBytes) what = what.substr(0, kMaxNamedBytes) + "...";
    trip("--delete-limit " + limit_->text() + " would be exceeded by record " + std::to_string(lsn.bytes()) + " (" +
             what + "), " + std::to_string(deletions_.counted()) + " deletions came before it, " + waiting() +
             " were waiting with it then",
         true);
    spdlog::warn("replay paused: {}", kept_.why);
    return false;
}

bool Brake::admit_removal(const std::string& path, std::uint64_t objects) {
    if (!limit_) return true;
    const std::lock_guard lock(mutex_);
    if (!kept_.why.empty()) return false;
    if (kept_.resync_released || removals_.admit(wall_clock_ns(), objects)) return true;
    auto shown = printable(path);
    if (shown.size() > kMaxNamedBytes) shown = shown.substr(0, kMaxNamedBytes) + "...";
    trip("--delete-limit " + limit_->text() + " would be exceeded by the resync, which is about to remove " + shown +
             " (objects: " + std::to_string(objects) + ") after " + std::to_string(removals_.counted()) + " others",
         true);
    spdlog::warn("resync paused: {}", kept_.why);
    return false;
}

void Brake::resync_done() {
    const std::lock_guard lock(mutex_);
    if (!kept_.resync_released) return;
    kept_.resync_released = false;
    if (auto saved = save(); !saved) spdlog::error("{}", saved.error());
}

}  // namespace tdfs

#include "slave/healer.hpp"

#include <unistd.h>

#include <algorithm>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "proto/checksum.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

constexpr const char* kRepairsFile = "repairs";
constexpr std::size_t kMaxRepairsBytes = 256u << 20;
constexpr std::uint64_t kFirstRepairPauseNs = 200'000'000;
constexpr std::uint64_t kLongestRepairPauseNs = 5'000'000'000;

// What a tree other than the expected one answers with. All else (space, rights, hardware) a repair would meet too.
bool is_foreign_change(Errno e) {
    switch (e.value()) {
        case ENOENT:
        case EEXIST:
        case ENOTDIR:
        case EISDIR:
        case ENOTEMPTY:
        case ELOOP:
        case EINVAL:
            return true;
        default:
            return false;
    }
}

struct PathsOf {
    std::vector<std::string> operator()(const LinkRecord& r) const { return {std::string(r.new_path)}; }
    std::vector<std::string> operator()(const RenameRecord& r) const {
        return {std::string(r.path), std::string(r.new_path)};
    }
    std::vector<std::string> operator()(const SyncRecord&) const { return {}; }
    template <class R>
    std::vector<std::string> operator()(const R& r) const {
        return {std::string(r.path)};
    }
};

}  // namespace

Result<void, std::string> Healer::load() {
    const auto content = read_file(dir_, kRepairsFile, kMaxRepairsBytes);
    if (!content && content.error().value() == ENOENT) return {};
    const std::string what = std::string("the state file ") + kRepairsFile;
    if (!content) return Unexpected(what + " cannot be read: " + content.error().text());
    ByteReader in(*content);
    const auto sum = in.get<std::uint64_t>();
    const Lsn since(in.get<std::uint64_t>());
    bool whole = in.ok() && sum == checksum(ByteView(*content).subspan(sizeof sum));
    decltype(paths_) paths;
    while (whole && in.ok() && !in.at_end()) {
        std::string path(as_text(in.get_short(kMaxPathBytes)));
        whole = in.ok() && is_valid_path(path);
        if (whole) paths.emplace(std::move(path), 0);
    }
    if (!whole) return Unexpected(what + " is damaged: what is to be repaired is not known");
    const std::lock_guard lock(mutex_);
    since_ = since;
    paths_ = std::move(paths);
    return {};
}

bool Healer::save() {
    Bytes names;
    ByteWriter out(names);
    out.put(since_.bytes());
    for (const auto& [path, order] : paths_) out.put_short(as_bytes(path));
    Bytes content;
    ByteWriter(content).put(checksum(names));
    content.insert(content.end(), names.begin(), names.end());
    const auto done = paths_.empty()
                          ? (::unlinkat(dir_, kRepairsFile, 0) == 0 || errno == ENOENT ? SysResult<void>()
                                                                                       : SysResult<void>(fail_last()))
                          : replace_file(dir_, kRepairsFile, content);
    if (!done) spdlog::error("{} cannot be written: {}", kRepairsFile, done.error().text());
    return done.has_value();
}

Verdict Healer::judge(const Record& r, Lsn lsn, const ApplyError& error) {
    if (error.refused) return Verdict::kRetry;
    const bool foreign = is_foreign_change(error.error);
    if (!foreign && tolerate_ == 0) return Verdict::kRetry;
    auto paths = std::visit(PathsOf{}, r);
    std::erase_if(paths, [](const std::string& path) { return is_within(path, kStateName); });
    if (paths.empty()) return Verdict::kRetry;
    const std::lock_guard lock(mutex_);
    std::vector<std::string> fresh;
    for (const auto& path : paths) {
        if (paths_.count(path) == 0) fresh.push_back(path);
    }
    const auto count = paths_.size() + fresh.size();
    if (foreign && count > kMaxPaths) return Verdict::kResync;
    if (!foreign && count > std::min(tolerate_, kMaxPaths)) return Verdict::kRetry;
    if (paths_.empty()) since_ = lsn;
    for (const auto& path : paths) paths_[path] = orders_ + 1;
    // What stands in the file already is safe; only which order it came after is new.
    if (!fresh.empty() && !save()) {
        for (const auto& path : fresh) paths_.erase(path);
        return Verdict::kRetry;
    }
    if (!fresh.empty()) {
        std::string text = to_text(r).substr(0, 512);
        spdlog::warn("{}: record {} ({}) does not apply: {}; it is left out and {} will be repaired",
                     foreign ? "foreign change" : "parked", lsn.bytes(), text, error.text(), printable(paths.back()));
    }
    return Verdict::kLeaveOut;
}

std::vector<std::string> Healer::names_of(const Record& r) { return std::visit(PathsOf{}, r); }

bool Healer::has(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    return paths_.count(path) != 0;
}

std::optional<InspectStart> Healer::order(std::uint64_t now_ns) {
    const std::lock_guard lock(mutex_);
    if (paths_.empty() || ordered_ || now_ns < not_before_ns_) return std::nullopt;
    ordered_ = true;
    ++orders_;
    InspectStart order;
    order.full = order.repair = true;
    for (const auto& [path, after] : paths_) order.paths.push_back(path);
    return order;
}

void Healer::finished(const std::string& problem, std::uint64_t now_ns) {
    const std::lock_guard lock(mutex_);
    if (!ordered_) return;
    ordered_ = false;
    problem_ = problem;
    if (!problem.empty()) {
        pause_ns_ = pause_ns_ == 0 ? kFirstRepairPauseNs : std::min(2 * pause_ns_, kLongestRepairPauseNs);
        not_before_ns_ = now_ns + pause_ns_;
        return;
    }
    pause_ns_ = not_before_ns_ = 0;
    std::erase_if(paths_, [&](const auto& entry) { return entry.second <= orders_; });
    static_cast<void>(save());  // said in the log; a name too many is repaired once more after a restart
    if (paths_.empty()) spdlog::info("all is repaired; the replica is a prefix again");
}

void Healer::clear() {
    const std::lock_guard lock(mutex_);
    paths_.clear();
    problem_.clear();
    static_cast<void>(save());  // said in the log; a file that is damaged goes too
}

std::optional<Lsn> Healer::since() const {
    const std::lock_guard lock(mutex_);
    return paths_.empty() ? std::nullopt : std::optional(since_);
}

Healer::Status Healer::status() const {
    const std::lock_guard lock(mutex_);
    Status s;
    if (paths_.empty()) return s;
    s.text = "being repaired: ";
    for (const auto& [path, order] : paths_) {
        s.paths.push_back(path);
        if (s.paths.size() <= kMaxNamed) s.text += (s.paths.size() > 1 ? ", " : "") + printable(path);
    }
    if (s.paths.size() > kMaxNamed) s.text += " and " + std::to_string(s.paths.size() - kMaxNamed) + " more";
    if (!problem_.empty()) s.text += " (" + problem_ + ")";
    return s;
}

}  // namespace tdfs

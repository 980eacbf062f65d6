// What somebody else changed in the replica, as records come upon it.
#include <fcntl.h>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "slave/applier.hpp"

namespace tdfs {

namespace {

// The names that a record gives to objects, or takes from them.
struct NamesOf {
    std::vector<std::string_view> operator()(const CreateRecord& r) const { return {r.path}; }
    std::vector<std::string_view> operator()(const LinkRecord& r) const { return {r.new_path}; }
    std::vector<std::string_view> operator()(const UnlinkRecord& r) const { return {r.path}; }
    std::vector<std::string_view> operator()(const RmdirRecord& r) const { return {r.path}; }
    template <class R>
    std::vector<std::string_view> operator()(const R&) const {
        return {};
    }
};

}  // namespace

// A file that the daemon has open it has looked at before. Directories hold nothing but names, which have times of their own.
Applied Applier::keep(std::string_view path, Fate fate) {
    if (options_.salvage == nullptr || path.empty()) return {};
    if (fate == Fate::kChanged && tree_.open_file(path) >= 0) return {};
    const auto at = tree_.place(path);
    if (!at) return {};  // the record itself will say so
    const auto is = stat_at(at->dir, at->name);
    if (!is && is_trouble(is.error())) return apply_error("look at what stands there", is.error());
    if (!is || is->is_dir() || !options_.salvage->wants(*is, Salvage::Whose::kForeign)) return {};
    Salvage::Kept kept;
    if (fate == Fate::kGone) {
        kept = options_.salvage->keep_object(at->dir, at->name, std::string(path), Salvage::Whose::kForeign,
                                             "replay  removed", Salvage::How::kLink);
    } else if (is->is_regular()) {
        const auto fd = tree_.readable(path);
        if (!fd) return apply_error("read what somebody else changed", fd.error());
        kept = options_.salvage->keep_content(fd->get(), std::string(path), *is, "replay  content");
    }
    if (kept) return {};
    complain(kept.error());
    return apply_error("keep what somebody else changed", Errno(EDQUOT));
}

// Once a reason: the record is tried again and again.
void Applier::complain(const std::string& why) {
    if (why != complained_) spdlog::error("{}", why);
    complained_ = why;
}

bool Applier::set_aside(const Record& r, const ApplyError& error) {
    const int e = error.error.value();
    if (options_.salvage == nullptr || (e != EEXIST && e != EISDIR && e != ENOTDIR && e != ENOTEMPTY)) return true;
    const ActivityLog::Span at_work(options_.activity);
    bool kept = true;
    for (const auto path : std::visit(NamesOf{}, r)) {
        const auto at = tree_.place(path);
        if (!at) continue;
        const auto done = options_.salvage->keep_object(at->dir, at->name, std::string(path), Salvage::Whose::kAll,
                                                        "replay  in the way");
        if (!done) complain(done.error());
        kept = kept && done;
    }
    tree_.forget_all();
    return kept;
}

}  // namespace tdfs

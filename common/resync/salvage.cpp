// Stages of one object: is there room for it; its place in the batch; its line in the report; it is moved, or copied and
// synced. The line comes first where the move itself takes the object away: a kill in between leaves a line too many.
#include "common/resync/salvage.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "common/os/utc.hpp"
#include "proto/path.hpp"

namespace tdfs {
namespace {

constexpr std::size_t kMaxDealtWith = 100'000;  // above, all are forgotten: then something may be kept twice
constexpr std::size_t kPieceBytes = 1 << 20;
constexpr int kMostBatchNames = 1000;  // of one second
constexpr std::string_view kAdvice =
    ": look at what is kept there and remove what nobody needs, or give tdfs_slave a larger --divergent-limit";

Unexpected<std::string> trouble(const std::string& what, std::string_view path, Errno e) {
    return Unexpected<std::string>("cannot " + what + " " + printable(path) + " in .tdfs/divergent: " + e.text());
}

SysResult<OwnFd> make_and_open(int dir, const std::string& name) {
    if (::mkdirat(dir, name.c_str(), 0700) != 0 && errno != EEXIST) return fail_last();
    return open_at(dir, name, O_RDONLY | O_DIRECTORY);
}

SysResult<void> copy_data(int from, int to, std::uint64_t size) {
    if (::ioctl(to, FICLONE, from) == 0) return {};
    if (::ftruncate(to, static_cast<off_t>(size)) != 0) return fail_last();
    Bytes piece(kPieceBytes);
    SysResult<void> done;
    const auto visited = visit_extents(from, 0, size, [&](std::uint64_t offset, std::uint64_t length, bool is_data) {
        while (is_data && length > 0 && done) {
            const auto got =
                read_some(from, std::span(piece).first(std::min<std::uint64_t>(length, piece.size())), offset);
            if (!got) done = fail(got.error());
            if (!got || *got == 0) break;
            done = write_all(to, ByteView(piece).first(*got), offset);
            offset += *got;
            length -= *got;
        }
        return done.has_value();
    });
    return visited ? done : visited;
}

// What cannot be given to a copy stands in the report.
void copy_metadata(int from, int to, const FileInfo& info) {
    if (const auto xattrs = read_all_xattrs(from)) {
        for (const auto& [name, value] : *xattrs) static_cast<void>(set_xattr(to, name, value));
    }
    static_cast<void>(!::fchown(to, info.uid, info.gid));
    static_cast<void>(change_mode(to, info.mode & 07777));
    static_cast<void>(set_mtime_fd(to, info.mtime_ns));
}

std::string describe(const FileInfo& info) {
    std::array<char, 16> mode{};
    std::snprintf(mode.data(), mode.size(), "%o", info.mode);
    return std::to_string(info.size) + " bytes, mode " + mode.data() + ", owner " + std::to_string(info.uid) + ":" +
           std::to_string(info.gid) + ", mtime " + utc_text(static_cast<std::uint64_t>(info.mtime_ns)) + ", changed " +
           utc_text(static_cast<std::uint64_t>(info.ctime_ns));
}

}  // namespace

Salvage::Salvage(int root, KeepLimits limits, IsForeign is_foreign, Tell tell)
    : root_(root), limits_(limits), is_foreign_(std::move(is_foreign)), tell_(std::move(tell)) {}

bool Salvage::wants(const FileInfo& info, Whose whose) {
    if (limits_.bytes == 0) return false;
    const bool foreign = is_foreign_(info);
    if (!foreign && whose == Whose::kForeign) return false;
    const std::lock_guard lock(mutex_);
    const auto known = dealt_with_.find(info.object.ino);
    const bool dealt_with = known != dealt_with_.end();
    if (dealt_with && known->second == info.ctime_ns) return false;
    return foreign || (whose == Whose::kAll && !dealt_with);
}

void Salvage::made(std::uint64_t ino) {
    const std::lock_guard lock(mutex_);
    if (dealt_with_.size() >= kMaxDealtWith) dealt_with_.clear();
    dealt_with_[ino] = 0;
}

// Directories are opened one after the other, by their paths: the depth costs no descriptors.
Salvage::Kept Salvage::keep_object(int dir, const std::string& name, const std::string& path, Whose whose,
                                   const char* why, How how) {
    const auto info = stat_at(dir, name);
    if (!info && info.error().value() == ENOENT) return {};
    if (!info) return trouble("keep", path, info.error());
    if (!info->is_dir()) return wants(*info, whose) ? move_object({dir, name, path, *info, how}, why) : Kept();
    std::vector<std::string> waiting{path};
    while (!waiting.empty()) {
        const std::string here = std::move(waiting.back());
        waiting.pop_back();
        const auto opened = open_beneath(root_, here, O_RDONLY | O_DIRECTORY);
        if (!opened) return trouble("keep", here, opened.error());
        const auto is = stat_fd(opened->get());
        if (!is) return trouble("keep", here, is.error());
        const auto names = read_dir(opened->get());
        if (!names) return trouble("keep", here, names.error());
        if (names->empty() && wants(*is, whose)) {  // nothing else will lead to its place
            const std::lock_guard lock(mutex_);
            if (auto done = admit(0, here); !done) return done;
            const auto at = place_for(join(here, "."));
            if (!at) return Unexpected<std::string>(at.error());
            if (auto done = report(here, *is, why, true); !done) return done;
        }
        for (const auto& entry : *names) {
            const std::string beneath = join(here, entry.name);
            const auto one = stat_at(opened->get(), entry.name);
            if (!one) return trouble("keep", beneath, one.error());
            if (one->is_dir()) {
                waiting.push_back(beneath);
            } else if (wants(*one, whose)) {
                if (auto done = move_object({opened->get(), entry.name, beneath, *one, how}, why); !done) return done;
            }
        }
    }
    return {};
}

Salvage::Kept Salvage::move_object(const Object& object, const char* why) {
    if (object.info.is_regular() && object.info.links > 1) {  // its other names go on changing it
        const auto fd = open_at(object.dir, object.name, O_RDONLY | O_NONBLOCK);
        if (!fd) return trouble("keep", object.path, fd.error());
        return keep_content(fd->get(), object.path, object.info, why);
    }
    const std::lock_guard lock(mutex_);
    const auto bytes = object.info.is_regular() ? object.info.blocks * 512 : 0;
    if (auto done = admit(bytes, object.path); !done) return done;
    const auto at = place_for(object.path);
    if (!at) return Unexpected<std::string>(at.error());
    if (auto done = report(object.path, object.info, why, true); !done) return done;
    const char* const name = object.name.c_str();
    const int kept = object.how == How::kMove ? ::renameat(object.dir, name, at->get(), name)
                                              : ::linkat(object.dir, name, at->get(), name, 0);
    if (kept != 0) {
        return trouble("keep", object.path, Errno::last());
    }
    ++total_.objects;
    total_.bytes += bytes;
    return {};
}

Salvage::Kept Salvage::keep_content(int fd, const std::string& path, const FileInfo& info, const char* why) {
    const std::lock_guard lock(mutex_);
    if (auto done = admit(info.blocks * 512, path); !done) return done;
    return copy_content(fd, path, info, why);
}

Salvage::Kept Salvage::copy_content(int fd, const std::string& path, const FileInfo& info, const char* why) {
    const auto at = place_for(path);
    if (!at) return Unexpected<std::string>(at.error());
    const std::string name(leaf_of(path));
    const auto copy = open_at(at->get(), name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (!copy) return trouble("keep", path, copy.error());
    auto copied = copy_data(fd, copy->get(), info.size);
    if (copied) copy_metadata(fd, copy->get(), info);
    if (copied && (::fsync(copy->get()) != 0 || ::fsync(at->get()) != 0)) copied = fail_last();
    if (!copied) {
        static_cast<void>(::unlinkat(at->get(), name.c_str(), 0));
        return trouble("keep", path, copied.error());
    }
    ++total_.objects;
    total_.bytes += info.blocks * 512;
    return report(path, info, why, true);
}

Salvage::Kept Salvage::note_metadata(const std::string& path, const FileInfo& info, const char* why) {
    const std::lock_guard lock(mutex_);
    if (!counted_) count();
    return report(path, info, why, false);
}

Salvage::Kept Salvage::admit(std::uint64_t bytes, const std::string& path) {
    const auto fits = [&] { return total_.objects < limits_.objects && total_.bytes + bytes <= limits_.bytes; };
    if (!counted_ || !fits()) count();
    if (fits()) {
        total_.refused.clear();
        return {};
    }
    std::string why = "what somebody else changed in " + printable(path) +
                      " would be lost, and there is no more room for it in .tdfs/divergent (" +
                      std::to_string(total_.objects) + " objects, " + std::to_string(total_.bytes) + " bytes)" +
                      std::string(kAdvice);
    total_.refused = why;
    return Unexpected<std::string>(std::move(why));
}

Salvage::Kept Salvage::begin_batch() {
    const auto state = open_at(root_, std::string(kStateName), O_RDONLY | O_DIRECTORY);
    if (!state) return trouble("open", "", state.error());
    auto kept = make_and_open(state->get(), std::string(kKeptName));
    if (!kept) return trouble("make", "", kept.error());
    std::string now = utc_text(wall_clock_ns());
    std::replace(now.begin(), now.end(), ':', '.');  // as a name that is easy to type
    for (int n = 1; n <= kMostBatchNames; ++n) {
        const std::string name = n == 1 ? now : now + "-" + std::to_string(n);
        if (::mkdirat(kept->get(), name.c_str(), 0700) != 0) {
            if (errno == EEXIST) continue;
            return trouble("make", name, Errno::last());
        }
        auto batch = open_at(kept->get(), name, O_RDONLY | O_DIRECTORY);
        if (!batch) return trouble("open", name, batch.error());
        if (::fsync(kept->get()) != 0) return trouble("sync", name, Errno::last());
        kept_ = std::move(*kept);
        batch_ = std::move(*batch);
        batch_name_ = name;
        return {};
    }
    return trouble("make", now, Errno(EEXIST));
}

// Where the name is taken in this batch, or a file stands where a directory is wanted, another batch begins.
Result<OwnFd, std::string> Salvage::place_for(const std::string& path) {
    for (int tries = 0;; ++tries) {
        const bool there = batch_ && stat_at(kept_.get(), batch_name_).has_value();  // a person may have removed it
        if (!there || tries > 0) {
            if (auto done = begin_batch(); !done) return Unexpected<std::string>(done.error());
        }
        auto at = open_at(batch_.get(), "", O_RDONLY | O_DIRECTORY);
        std::string_view rest = path;
        for (auto slash = rest.find('/'); at && slash != std::string_view::npos; slash = rest.find('/')) {
            at = make_and_open(at->get(), std::string(rest.substr(0, slash)));
            rest.remove_prefix(slash + 1);
        }
        const bool taken = at && rest != "." && stat_at(at->get(), std::string(rest)).has_value();
        if (at && !taken) return std::move(*at);
        if (tries > 0) return trouble("make the place of", path, at ? Errno(EEXIST) : at.error());
    }
}

Salvage::Kept Salvage::report(const std::string& path, const FileInfo& info, const char* why, bool kept) {
    if (!kept) {
        const auto state = open_at(root_, std::string(kStateName), O_RDONLY | O_DIRECTORY);
        if (!state) return trouble("open", "", state.error());
        auto opened = make_and_open(state->get(), std::string(kKeptName));
        if (!opened) return trouble("make", "", opened.error());
        kept_ = std::move(*opened);
    }
    const std::string line = utc_text(wall_clock_ns()) + "  " + why + "  " + (path.empty() ? "." : printable(path)) +
                             "  " +
                             (kept ? "kept in " + batch_name_ + "/" + printable(path) : "nothing to keep but this") +
                             "  (" + describe(info) + ")";
    const auto file = open_at(kept_.get(), kKeptReportName, O_RDWR | O_CREAT, 0600);
    if (!file) return trouble("write", kKeptReportName, file.error());
    const auto is = stat_fd(file->get());
    if (!is) return trouble("write", kKeptReportName, is.error());
    const std::string text = line + "\n";
    if (is->size + text.size() > kMostKeptReportBytes) {  // what has no copy is in the log at least
        if (kept) return trouble("write", kKeptReportName, Errno(EFBIG));
        if (tell_) tell_(line);
        return {};
    }
    if (auto done = write_all(file->get(), as_bytes(text), is->size); !done) {
        return trouble("write", kKeptReportName, done.error());
    }
    if (is->size == 0) total_.lines = 0;
    ++total_.lines;
    if (dealt_with_.size() >= kMaxDealtWith) dealt_with_.clear();
    dealt_with_[info.object.ino] = info.ctime_ns;
    if (tell_) tell_(line);
    return {};
}

void Salvage::count() {
    counted_ = true;
    total_ = {};
    const std::string top = join(kStateName, kKeptName);
    const auto kept = open_beneath(root_, top, O_RDONLY | O_DIRECTORY);
    if (!kept) return;
    if (const auto lines = read_file(kept->get(), kKeptReportName, kMostKeptReportBytes)) {
        total_.lines = static_cast<std::uint64_t>(std::count(lines->begin(), lines->end(), std::byte{'\n'}));
    }
    std::vector<std::string> waiting{top};
    while (!waiting.empty()) {
        const std::string here = std::move(waiting.back());
        waiting.pop_back();
        const auto dir = open_beneath(root_, here, O_RDONLY | O_DIRECTORY);
        const auto names = dir ? read_dir(dir->get()) : SysResult<std::vector<DirName>>(fail(dir.error()));
        if (!names) continue;
        for (const auto& entry : *names) {
            const auto info = stat_at(dir->get(), entry.name);
            if (!info) continue;
            if (info->is_dir()) {
                waiting.push_back(join(here, entry.name));
            } else if (here != top) {
                ++total_.objects;
                total_.bytes += info->blocks * 512;
            }
        }
    }
}

Salvage::Total Salvage::total() {
    const std::lock_guard lock(mutex_);
    if (!counted_) count();
    if (total_.lines != 0) {
        const auto report = open_beneath(root_, join(join(kStateName, kKeptName), kKeptReportName), O_PATH);
        if (!report && report.error().value() == ENOENT) count();
    }
    return total_;
}

}  // namespace tdfs

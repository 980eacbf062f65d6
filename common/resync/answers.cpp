#include "common/resync/answers.hpp"

#include <fcntl.h>

#include <algorithm>

#include "common/resync/attributes.hpp"
#include "proto/path.hpp"

namespace tdfs {
namespace {

constexpr std::size_t kEntryBytes = 80;  // of an encoded entry without its texts, roughly

Unexpected<Unreadable> unreadable(const char* what, std::string_view path, Errno e) {
    return Unexpected<Unreadable>("the master cannot " + std::string(what) + " " +
                                  (path.empty() ? "its directory" : printable(path)) + ": " + e.text());
}

// The path leads nowhere, or out of the tree that is replicated.
bool means_absent(Errno e) {
    switch (e.value()) {
        case ENOENT:
        case ENOTDIR:
        case ELOOP:
        case EXDEV:
            return true;
        default:
            return false;
    }
}

bool hidden(std::string_view path) { return is_within(path, kStateName); }

}  // namespace

Answer<std::optional<Entry>> stat_answer(const BackingDir& dir, const std::string& path) {
    if (hidden(path)) return std::optional<Entry>();
    const auto parent = open_parent_beneath(dir.root, path);
    if (!parent && means_absent(parent.error())) return std::optional<Entry>();
    if (!parent) return unreadable("open the directory of", path, parent.error());
    auto entry = entry_of(parent->get(), std::string(leaf_of(path)), dir.device);
    if (!entry && means_absent(entry.error())) return std::optional<Entry>();
    if (!entry) return unreadable("look at", path, entry.error());
    return std::move(*entry);
}

Answer<XattrsReply> xattrs_answer(const BackingDir& dir, const XattrsRequest& request) {
    XattrsReply gone;
    gone.gone = true;
    if (hidden(request.path)) return gone;
    const auto fd = open_beneath(dir.root, request.path, O_PATH);
    if (!fd && means_absent(fd.error())) return gone;
    if (!fd) return unreadable("open", request.path, fd.error());
    const auto info = stat_fd(fd->get());
    if (!info) return unreadable("look at", request.path, info.error());
    if (info->object != request.object) return gone;
    auto xattrs = read_all_xattrs(fd->get());
    if (!xattrs) return unreadable("read the extended attributes of", request.path, xattrs.error());
    std::size_t bytes = 0;
    for (const auto& [name, value] : *xattrs) bytes += name.size() + value.size();
    XattrsReply reply;
    reply.too_many = bytes > kMaxXattrsBytes;
    if (reply.too_many) return reply;
    reply.xattrs = std::move(*xattrs);
    return reply;
}

Answer<std::unique_ptr<ListAnswer>> ListAnswer::open(const BackingDir& dir, const std::string& path) {
    std::unique_ptr<ListAnswer> answer(new ListAnswer(dir));
    answer->path_ = path;
    if (hidden(path)) return answer;
    auto opened = open_beneath(dir.root, path, O_RDONLY | O_DIRECTORY);
    if (!opened && means_absent(opened.error())) return answer;
    if (!opened) return unreadable("open", path, opened.error());
    auto names = read_dir(opened->get());
    if (!names) return unreadable("read the directory", path, names.error());
    answer->dir_ = std::move(*opened);
    for (auto& n : *names) {
        if (path.empty() && n.name == kStateName) continue;
        answer->names_.push_back(std::move(n.name));
    }
    std::sort(answer->names_.begin(), answer->names_.end());
    // The same name twice can only come from a directory that changes while it is read.
    answer->names_.erase(std::unique(answer->names_.begin(), answer->names_.end()), answer->names_.end());
    return answer;
}

Answer<ListPart> ListAnswer::next() {
    ListPart part;
    part.absent = !dir_;
    for (std::size_t bytes = 0; index_ < names_.size() && bytes < kMaxListPartBytes; ++index_) {
        std::string& name = names_[index_];
        auto entry = entry_of(dir_.get(), name, backing_.device);
        if (!entry && means_absent(entry.error())) continue;
        if (!entry) return unreadable("look at", join(path_, name), entry.error());
        if (!*entry) continue;
        bytes += kEntryBytes + name.size() + (*entry)->target.size();
        (*entry)->name = std::move(name);
        part.entries.push_back(std::move(**entry));
    }
    part.last = index_ == names_.size();
    return part;
}

Answer<int> RangeFile::get(const BackingDir& dir, const std::string& path, const ObjectId& object) {
    if (fd_ && path_ == path && object_ == object) return fd_.get();
    fd_.reset();
    if (hidden(path)) return -1;
    // Looks before it opens: opening a device or a pipe would have effects.
    const auto found = open_beneath(dir.root, path, O_PATH);
    if (!found && means_absent(found.error())) return -1;
    if (!found) return unreadable("open", path, found.error());
    const auto info = stat_fd(found->get());
    if (!info) return unreadable("look at", path, info.error());
    if (!info->is_regular() || info->object != object) return -1;
    const int fd = ::open(proc_fd_path(found->get()).c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno == ENOENT) return -1;  // unlinked in between
    if (fd < 0) return unreadable("open", path, Errno::last());
    fd_.reset(fd);
    path_ = path;
    object_ = object;
    return fd;
}

}  // namespace tdfs

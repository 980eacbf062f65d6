// Requests about open directories.
#include <string>
#include <vector>

#include "master/fuse_ops.hpp"
#include "master/fuse_reply.hpp"
#include "master/fuse_wait.hpp"

namespace tdfs::fuse {

namespace {

OpenDirectory& directory(const fuse_file_info* fi) { return FuseHandles<OpenDirectory>::at(fi->fh); }

void opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
    FuseMount& here = mount(req);
    auto opened = here.file_system().open_directory(node(req, ino));
    if (!opened) {
        fuse_reply_err(req, opened.error().value());
        return;
    }
    fi->fh = here.directories().give(std::move(*opened));
    if (fuse_reply_open(req, fi) != 0) here.file_system().close_directory(here.directories().take(fi->fh));
}

void releasedir(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
    fs(req).close_directory(mount(req).directories().take(fi->fh));
    fuse_reply_err(req, 0);
}

void readdir(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* fi) {
    std::string buffer(size, '\0');
    size_t used = 0;
    const auto done = fs(req).read_directory(directory(fi), static_cast<std::uint64_t>(offset), [&](const DirEntry& e) {
        struct stat st {};
        st.st_ino = e.ino;
        st.st_mode = static_cast<mode_t>(e.type) << 12;
        const size_t n = fuse_add_direntry(req, buffer.data() + used, size - used, std::string(e.name).c_str(), &st,
                                           static_cast<off_t>(e.next));
        if (n > size - used) return false;
        used += n;
        return true;
    });
    done ? fuse_reply_buf(req, buffer.data(), used) : fuse_reply_err(req, done.error().value());
}

void readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi) {
    FileSystem& file_system = fs(req);
    Node* const dir = node(req, ino);
    std::string buffer(size, '\0');
    size_t used = 0;
    std::vector<Node*> counted;
    const auto done =
        file_system.read_directory(directory(fi), static_cast<std::uint64_t>(offset), [&](const DirEntry& e) {
            const std::string name(e.name);
            fuse_entry_param entry{};
            entry.attr.st_ino = e.ino;
            entry.attr.st_mode = static_cast<mode_t>(e.type) << 12;
            if (fuse_add_direntry_plus(req, nullptr, 0, name.c_str(), &entry, 0) > size - used) return false;
            Node* looked_up = nullptr;
            if (name != "." && name != "..") {
                const auto found = file_system.lookup(dir, name.c_str());
                if (found) {
                    entry = to_entry(*found);
                    looked_up = found->node;
                } else if (found.error() == Errno(ENOENT)) {
                    return true;  // gone since its name was read
                }
            }
            used += fuse_add_direntry_plus(req, buffer.data() + used, size - used, name.c_str(), &entry,
                                           static_cast<off_t>(e.next));
            if (looked_up != nullptr) counted.push_back(looked_up);
            return true;
        });
    if (done && fuse_reply_buf(req, buffer.data(), used) == 0) return;
    for (Node* n : counted) file_system.forget(n, 1);
    if (!done) fuse_reply_err(req, done.error().value());
}

void fsyncdir(fuse_req_t req, fuse_ino_t, int, fuse_file_info* fi) {
    reply_synced(req, fs(req).fsync_directory(directory(fi)));
}

}  // namespace

void set_directory_operations(fuse_lowlevel_ops& o) {
    o.opendir = opendir;
    o.readdir = readdir;
    o.readdirplus = readdirplus;
    o.releasedir = releasedir;
    o.fsyncdir = fsyncdir;
}

}  // namespace tdfs::fuse

// Requests about open directories.
#include <memory>
#include <string>
#include <vector>

#include "master/fuse_ops.hpp"
#include "master/fuse_reply.hpp"
#include "master/fuse_wait.hpp"

namespace tdfs::fuse {

namespace {

// The stream that a request is about: its own, or one for this request where the kernel opens directories by itself.
class Stream {
  public:
    Stream(fuse_req_t req, fuse_ino_t ino, const fuse_file_info* fi) : fs_(fs(req)) {
        if (!mount(req).features().opens_directories) {
            stream_ = &FuseHandles<OpenDirectory>::at(fi->fh);
        } else if (auto opened = fs_.open_directory(node(req, ino))) {
            own_ = std::move(*opened);
            stream_ = own_.get();
        } else {
            error_ = opened.error();
        }
    }
    ~Stream() {
        if (own_) fs_.close_directory(std::move(own_));
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    SysResult<void> read(std::uint64_t offset, const std::function<bool(const DirEntry&)>& visit) {
        if (stream_ == nullptr) return fail(error_);
        return fs_.read_directory(*stream_, offset, visit);
    }
    SysResult<Lsn> fsync() {
        if (stream_ == nullptr) return fail(error_);
        return fs_.fsync_directory(*stream_);
    }

  private:
    FileSystem& fs_;
    OpenDirectory* stream_ = nullptr;
    std::unique_ptr<OpenDirectory> own_;
    Errno error_{0};
};

void opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
    FuseMount& here = mount(req);
    if (here.features().opens_directories) {  // never asked again
        fuse_reply_err(req, ENOSYS);
        return;
    }
    auto opened = here.file_system().open_directory(node(req, ino));
    if (!opened) {
        fuse_reply_err(req, opened.error().value());
        return;
    }
    fi->cache_readdir = 1;
    fi->keep_cache = 1;
    fi->fh = here.directories().give(std::move(*opened));
    if (fuse_reply_open(req, fi) != 0) here.file_system().close_directory(here.directories().take(fi->fh));
}

void releasedir(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
    fs(req).close_directory(mount(req).directories().take(fi->fh));
    fuse_reply_err(req, 0);
}

// The kernel keeps a listing that was read to its end, in pages, no entry across two. A stream that is older than a change looks for
// its place in what was kept later, and asks here where it finds none; but if the last page is filled to the end, it stops
// there (fs/fuse/readdir.c). So such a listing is thrown away before the kernel learns that it is complete.
void forget_full_pages(fuse_req_t req, fuse_ino_t ino, const fuse_file_info* fi) {
    constexpr std::size_t kPage = 4096;
    std::size_t used = 0;
    const auto done = Stream(req, ino, fi).read(0, [&](const DirEntry& e) {
        const std::size_t bytes = fuse_add_direntry(req, nullptr, 0, std::string(e.name).c_str(), nullptr, 0);
        if (used % kPage + bytes > kPage) used += kPage - used % kPage;
        used += bytes;
        return true;
    });
    if (!done || used % kPage == 0) fuse_lowlevel_notify_inval_inode(mount(req).session(), ino, 0, 0);
}

void readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi) {
    std::string buffer(size, '\0');
    size_t used = 0;
    const auto done = Stream(req, ino, fi).read(static_cast<std::uint64_t>(offset), [&](const DirEntry& e) {
        struct stat st {};
        st.st_ino = e.ino;
        st.st_mode = static_cast<mode_t>(e.type) << 12;
        const size_t n = fuse_add_direntry(req, buffer.data() + used, size - used, std::string(e.name).c_str(), &st,
                                           static_cast<off_t>(e.next));
        if (n > size - used) return false;
        used += n;
        return true;
    });
    if (done && used == 0) forget_full_pages(req, ino, fi);
    done ? fuse_reply_buf(req, buffer.data(), used) : fuse_reply_err(req, done.error().value());
}

void readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi) {
    FileSystem& file_system = fs(req);
    Node* const dir = node(req, ino);
    std::string buffer(size, '\0');
    size_t used = 0;
    std::vector<Node*> counted;
    const auto done = Stream(req, ino, fi).read(static_cast<std::uint64_t>(offset), [&](const DirEntry& e) {
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
    if (done && used == 0) forget_full_pages(req, ino, fi);
    if (done && fuse_reply_buf(req, buffer.data(), used) == 0) return;
    for (Node* n : counted) file_system.forget(n, 1);
    if (!done) fuse_reply_err(req, done.error().value());
}

void fsyncdir(fuse_req_t req, fuse_ino_t ino, int, fuse_file_info* fi) {
    reply_synced(req, Stream(req, ino, fi).fsync());
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

#include "common/resync/transfers.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "common/resync/attributes.hpp"
#include "common/resync/blocks.hpp"

namespace tdfs {
namespace {

constexpr std::uint32_t kLeastBlocks = 32;  // asked for at once; more where answers are short (holes, equal blocks)

std::uint64_t round_down(std::uint64_t v) { return v - v % kResyncBlockBytes; }
std::uint64_t round_up(std::uint64_t v) { return round_down(v + kResyncBlockBytes - 1); }

// What to ask for, in whole blocks, ascending and apart. A range behind the end counts where its first block begins
// before it: what was written there and cut off again has left that block allocated.
std::deque<std::pair<std::uint64_t, std::uint64_t>> wanted_pieces(const Transfer& t) {
    std::deque<std::pair<std::uint64_t, std::uint64_t>> pieces;
    const auto size = t.entry.size;
    if (t.ranges.empty() && size != 0) pieces.emplace_back(0, round_up(size));
    for (const auto& [offset, length] : t.ranges) {
        const auto begin = round_down(offset);
        if (begin >= size) continue;
        const auto end = round_up(length < size ? std::min(offset + length, size) : size);
        if (!pieces.empty() && begin <= pieces.back().second) {
            pieces.back().second = std::max(pieces.back().second, end);
        } else {
            pieces.emplace_back(begin, end);
        }
    }
    return pieces;
}

}  // namespace

struct Transfers::File {
    explicit File(Transfer t) : transfer(std::move(t)), pieces(wanted_pieces(transfer)), size(transfer.entry.size) {}

    Transfer transfer;
    OwnFd fd;
    std::string staged;                                          // name in the stage; empty: in place
    std::uint64_t local_size = 0;                                // when it was opened
    std::deque<std::pair<std::uint64_t, std::uint64_t>> pieces;  // begin, end: not asked for yet
    std::uint64_t size;                                          // as far as content is known at the end
    std::uint32_t blocks = kLeastBlocks;
    std::uint32_t outstanding = 0;
    bool fetched = false;  // something came
    bool gone = false;
    bool kept = false;  // or nothing there is to be kept

    [[nodiscard]] bool has_more() const { return !gone && !pieces.empty() && pieces.front().first < size; }
};

Transfers::~Transfers() = default;

template <class Message>
void Transfers::say(Bytes& out, MessageKind kind, const Message& m) {
    const auto frame = message(kind, encode(m), wall_clock_ns());
    out.insert(out.end(), frame.begin(), frame.end());
}

Result<Transfers::Asked, std::string> Transfers::ask(Bytes& out) {
    while (questions_.size() < kMaxTransferQuestions && expected_bytes_ < kMaxExpectedBytes) {
        if (!need_xattrs_.empty()) {
            ask_xattrs(std::move(need_xattrs_.front()), out);
            need_xattrs_.pop_front();
            return Asked(MessageKind::kXattrs);
        }
        if (!current_) {
            if (agenda_.transfers.empty() || open_files_ >= kMaxOpenFiles) break;
            if (auto done = start(); !done) return Unexpected(done.error());
            continue;
        }
        if (current_->has_more()) {
            const auto asked = ask_range(out);
            if (!asked) return Unexpected(asked.error());
            return Asked(MessageKind::kRange);
        }
        const FilePtr file = std::exchange(current_, nullptr);
        if (file->outstanding == 0) {
            if (auto done = content_complete(file); !done) return Unexpected(done.error());
        }
    }
    return Asked();
}

Done Transfers::start() {
    const auto file = std::make_shared<File>(std::move(agenda_.transfers.front()));
    agenda_.transfers.pop_front();
    ++open_files_;
    switch (file->transfer.kind) {
        case Transfer::Kind::kXattrs:
            need_xattrs_.push_back(file);
            return {};
        case Transfer::Kind::kUpdate:
            if (auto done = open_present(*file); !done) return done;
            if (!file->fd) return drop(*file);
            break;
        case Transfer::Kind::kNew:
            break;
    }
    if (!file->fd) {
        auto staged = tree_.stage_file();
        if (!staged) return Unexpected(staged.error());
        file->fd = std::move(staged->fd);
        file->staged = std::move(staged->name);
    }
    current_ = file;
    return {};
}

// Leaves f.fd empty where the file that was seen is not there any more, and turns a file that cannot be written to into
// a new one.
Done Transfers::open_present(File& f) {
    const auto& path = f.transfer.path;
    const auto at = tree_.spot(path);
    if (!at) return Unexpected(at.error());
    if (!*at) return {};
    const auto found = open_at((*at)->dir, (*at)->name, O_PATH);
    if (!found && found.error().value() == ENOENT) return {};
    if (!found) return cannot("open", path, found.error());
    const auto info = stat_fd(found->get());
    if (!info) return cannot("look at", path, info.error());
    if (!info->is_regular() || info->object.ino != f.transfer.ino) return {};
    f.local_size = info->size;
    f.fd.reset(::open(proc_fd_path(found->get()).c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY));
    if (f.fd) return {};
    const auto e = Errno::last();
    if (e.value() != ETXTBSY || links_.find(f.transfer.entry.object) != nullptr) return cannot("write to", path, e);
    auto staged = tree_.stage_file();  // being executed: a new file takes its place
    if (!staged) return Unexpected(staged.error());
    f.fd = std::move(staged->fd);
    f.staged = std::move(staged->name);
    f.local_size = 0;
    f.transfer.ranges.clear();
    f.pieces = wanted_pieces(f.transfer);
    return {};
}

// Before the first byte of a file that is there is changed.
Done Transfers::about_to_write(File& f) {
    if (f.kept || !f.staged.empty() || !f.transfer.foreign) return {};
    const auto is = stat_fd(f.fd.get());
    if (!is) return cannot("look at", f.transfer.path, is.error());
    f.kept = true;
    return tree_.keeping().salvage->keep_content(f.fd.get(), f.transfer.path, *is, "resync  content");
}

Result<std::vector<std::pair<std::uint64_t, std::uint64_t>>, std::string> Transfers::own_hashes(
    const File& f, std::uint64_t begin, std::uint64_t end) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> hashes;
    end = std::min({end, f.local_size, f.transfer.entry.size});
    if (begin >= end) return hashes;
    // Lets the kernel drop what it takes for written; what it knows to be unwritten stays. A file system that cannot do
    // so shows what it has.
    if (read_ == Read::kFromDisk) {
        static_cast<void>(::posix_fadvise(f.fd.get(), static_cast<off_t>(begin), static_cast<off_t>(end - begin),
                                          POSIX_FADV_DONTNEED));
    }
    BlockReader reader(f.fd.get(), begin, end);
    BlockReader::Block block;
    for (;;) {
        const auto more = reader.next(block);
        if (!more) return cannot("read", f.transfer.path, more.error());
        if (!*more) return hashes;
        hashes.emplace_back(block.hash.low, block.hash.high);
    }
}

Result<bool, std::string> Transfers::ask_range(Bytes& out) {
    File& f = *current_;
    auto& [begin, end] = f.pieces.front();
    Question q;
    q.file = current_;
    q.begin = begin;
    q.end = std::min(end, begin + f.blocks * kResyncBlockBytes);
    q.expected = std::min<std::uint64_t>(q.end - q.begin, kLeastBlocks * kResyncBlockBytes);
    q.expected = std::min(q.expected, f.size - begin);
    RangeRequest m;
    m.path = f.transfer.path;
    m.object = f.transfer.entry.object;
    m.offset = q.begin;
    m.blocks = static_cast<std::uint32_t>((q.end - q.begin) / kResyncBlockBytes);
    auto hashes = own_hashes(f, q.begin, q.end);
    if (!hashes) return Unexpected(hashes.error());
    m.hashes = std::move(*hashes);
    say(out, MessageKind::kRange, m);
    begin = q.end;
    if (begin >= end) f.pieces.pop_front();
    ++f.outstanding;
    expected_bytes_ += q.expected;
    questions_.push_back(std::move(q));
    return true;
}

void Transfers::ask_xattrs(FilePtr file, Bytes& out) {
    say(out, MessageKind::kXattrs, XattrsRequest{file->transfer.path, file->transfer.entry.object});
    Question q;
    q.file = std::move(file);
    questions_.push_back(std::move(q));
}

Result<bool, std::string> Transfers::part(const RangePart& m) {
    Question& q = questions_.front();
    File& f = *q.file;
    const std::uint64_t length = m.hole_bytes != 0 ? m.hole_bytes : m.data.size();
    if (m.offset < q.begin || m.offset > q.end || length > q.end - m.offset) return false;
    if (auto done = about_to_write(f); !done) return Unexpected(done.error());
    f.fetched = true;
    q.received += m.data.size();
    counts_.fetched_bytes += m.data.size();
    if (m.hole_bytes == 0) {
        const auto done = write_all(f.fd.get(), m.data, m.offset);
        if (!done) return cannot("write", f.transfer.path, done.error());
        return true;
    }
    if (m.offset >= f.local_size) return true;  // nothing there yet
    const auto done = make_hole(f.fd.get(), m.offset, length);
    if (!done) return cannot("make a hole in", f.transfer.path, done.error());
    return true;
}

Done Transfers::end(const RangeEnd& m) {
    const Question q = std::move(questions_.front());
    questions_.pop_front();
    expected_bytes_ -= q.expected;
    File& f = *q.file;
    --f.outstanding;
    f.gone = f.gone || m.gone;
    if (!f.gone) f.size = std::min(f.size, m.size);
    f.blocks =
        q.received * 8 <= q.end - q.begin ? std::min<std::uint32_t>(f.blocks * 2, kMaxRangeBlocks) : kLeastBlocks;
    counts_.bytes_done += std::min(q.end, std::max(f.transfer.entry.size, q.begin)) - q.begin;
    if (f.outstanding != 0 || f.has_more()) return {};
    if (current_ == q.file) current_.reset();
    return content_complete(q.file);
}

Done Transfers::content_complete(const FilePtr& file) {
    File& f = *file;
    const auto& path = f.transfer.path;
    if (f.gone) return drop(f);
    auto info = stat_fd(f.fd.get());
    if (!info) return cannot("look at", path, info.error());
    if (info->size != f.size) {
        if (auto done = about_to_write(f); !done) return done;
        if (::ftruncate(f.fd.get(), static_cast<off_t>(f.size)) != 0) return cannot("resize", path, Errno::last());
        f.fetched = true;
    }
    if (f.staged.empty() && f.transfer.foreign && !f.kept) {  // equal in content
        const Entry& e = f.transfer.entry;
        if (auto done = tree_.note_metadata(f.fd.get(), path, *info, e); !done) return done;
    }
    const auto done = set_owner_and_mode(f.fd.get(), *info, f.transfer.entry);
    if (!done) return cannot("give an owner to", path, done.error());
    const auto hash = xattr_hash_of(f.fd.get());
    if (!hash) return cannot("read the extended attributes of", path, hash.error());
    if (*hash == f.transfer.entry.xattr_hash) return complete(f);
    need_xattrs_.push_back(file);
    return {};
}

Done Transfers::xattrs(const XattrsReply& m) {
    const Question q = std::move(questions_.front());
    questions_.pop_front();
    File& f = *q.file;
    if (m.gone) return drop(f);
    if (m.too_many) ++counts_.xattrs_left;  // one object must not keep all others from becoming equal
    if (m.too_many && f.transfer.kind != Transfer::Kind::kXattrs) return complete(f);
    if (f.transfer.kind == Transfer::Kind::kXattrs) {
        if (m.too_many) {
            close(f);
            return {};
        }
        if (auto done = set_only_xattrs(f, m); !done) return done;
        close(f);
        return {};
    }
    if (auto done = set_xattrs(f.fd.get(), m.xattrs, f.transfer.entry); !done) {
        return cannot("set the extended attributes of", f.transfer.path, done.error());
    }
    return complete(f);
}

Done Transfers::set_only_xattrs(const File& f, const XattrsReply& m) {
    const auto fd = tree_.open(f.transfer.path, O_PATH);
    if (!fd) {
        const int e = fd.error().value();
        if (e == ENOENT || e == ENOTDIR || e == ELOOP) return {};
        return cannot("open", f.transfer.path, fd.error());
    }
    const auto info = stat_fd(fd->get());
    if (!info) return cannot("look at", f.transfer.path, info.error());
    if (info->object.ino != f.transfer.ino) return {};
    const auto done = set_xattrs(fd->get(), m.xattrs, f.transfer.entry);
    if (!done) return cannot("set the extended attributes of", f.transfer.path, done.error());
    return {};
}

Done Transfers::complete(File& f) {
    const auto& t = f.transfer;
    if (auto done = set_mtime_fd(f.fd.get(), t.entry.mtime_ns); !done) {
        return cannot("set the time of", t.path, done.error());
    }
    if (!f.staged.empty()) {
        const auto placed = put_into_place(f);
        if (!placed) return Unexpected(placed.error());
        if (!*placed) return drop(f);
    }
    if (f.fetched || !f.staged.empty()) ++counts_.fetched_files;
    close(f);
    return {};
}

Result<bool, std::string> Transfers::put_into_place(File& f) {
    const auto& t = f.transfer;
    const auto info = stat_fd(f.fd.get());
    if (!info) return cannot("look at", t.path, info.error());
    links_.drop_name(t.path);
    auto placed = tree_.publish(f.staged, t.path);
    if (!placed || !*placed) {
        f.staged.clear();
        return placed;
    }
    LinkGroup* group = links_.find(t.entry.object);
    if (group != nullptr && group->ino == 0 && group->builder == t.path) {
        for (auto& name : links_.built(*group, info->object.ino)) agenda_.add_path(std::move(name), {}, false);
    }
    return true;
}

// Where the object has other names here, what is left to do for it is done by one of them.
Done Transfers::drop(File& f) {
    const auto& t = f.transfer;
    if (!f.staged.empty()) tree_.discard(f.staged);
    if (LinkGroup* group = links_.find(t.entry.object)) {
        if (group->ino != 0) {
            group->compared_in = ~std::uint32_t{0};
            agenda_.add_path(*group->names.begin(), t.entry.object, true);
        } else if (group->builder == t.path) {
            for (auto& name : links_.give_up(*group)) agenda_.add_path(std::move(name), t.entry.object, true);
        }
    }
    close(f);
    return {};
}

void Transfers::close(File& f) {
    f.fd.reset();
    --open_files_;
    if (f.transfer.kind != Transfer::Kind::kXattrs) ++counts_.files_done;
}

}  // namespace tdfs

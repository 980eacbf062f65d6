#include "tests/sim/history.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "common/journal/segment.hpp"
#include "proto/frame.hpp"
#include "proto/record.hpp"
#include "tests/sim/world.hpp"

namespace tdfs::sim {

namespace {

std::vector<Lsn> segments(const std::string& dir) {
    std::vector<Lsn> found;
    DIR* const d = ::opendir(dir.c_str());
    if (d == nullptr) return found;
    while (const dirent* entry = ::readdir(d)) {
        if (const auto first = parse_segment_name(entry->d_name)) found.push_back(*first);
    }
    ::closedir(d);
    std::sort(found.begin(), found.end());
    return found;
}

// One step of reading along the journal: whether there is anything that pull() would find at `at`.
bool is_news(const std::string& dir, Lsn at, Lsn segment) {
    struct stat s {};
    if (at != segment && ::stat((dir + "/" + segment_name(at)).c_str(), &s) == 0) return true;
    const int fd = ::open((dir + "/" + segment_name(segment)).c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return true;  // dropped meanwhile: look at all
    std::uint32_t magic = 0;
    const auto got = ::pread(fd, &magic, sizeof magic, static_cast<off_t>(at - segment));
    ::close(fd);
    return got == sizeof magic && magic != 0;
}

Bytes content(const std::string& path, std::uint64_t from) {
    Bytes bytes;
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return bytes;
    struct stat s {};
    if (::fstat(fd, &s) == 0 && static_cast<std::uint64_t>(s.st_size) > from) {
        bytes.resize(static_cast<std::uint64_t>(s.st_size) - from);
        const auto got = ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(from));
        bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    }
    ::close(fd);
    return bytes;
}

struct Paths {
    std::vector<History::Touched>& out;
    void add(std::string_view path, bool moved = false) const { out.push_back({std::string(path), moved}); }
    void operator()(const LinkRecord& r) const { add(r.path), add(r.new_path); }
    void operator()(const RenameRecord& r) const { add(r.path, true), add(r.new_path, true); }
    void operator()(const SyncRecord&) const {}
    template <class R>
    void operator()(const R& r) const {
        add(r.path);
    }
};

}  // namespace

Lsn scan_frames(const std::string& dir, Lsn from, const std::function<void(const FrameView&)>& visit) {
    const Quiet quiet;
    const auto firsts = segments(dir);
    for (std::size_t i = 0; i < firsts.size(); ++i) {
        if (i + 1 < firsts.size() && firsts[i + 1] <= from) continue;
        if (firsts[i] > from) return from;
        const Bytes bytes = content(dir + "/" + segment_name(firsts[i]), from - firsts[i]);
        for (ByteView rest = bytes; !rest.empty();) {
            const auto frame = parse_frame(rest);
            if (!frame || !frame->complete() || frame->header.lsn != from) break;
            visit(*frame);
            from = from + frame->bytes.size();
            rest = rest.subspan(frame->bytes.size());
        }
    }
    return from;
}

std::optional<Lsn> oldest_frame(const std::string& dir) {
    const Quiet quiet;
    const auto firsts = segments(dir);
    if (firsts.empty()) return std::nullopt;
    return firsts.front();
}

void History::begin(Lsn first, Tree base) {
    bases_[first] = std::move(base);
    end_ = first;
}

std::string History::pull(const std::string& dir) {
    const Quiet quiet;
    std::string wrong;
    if (segment_ <= end_ && !is_news(dir, end_, segment_)) return wrong;
    end_ = scan_frames(dir, end_, [&](const FrameView& frame) {
        Frame mine{frame.header.lsn, frame.header.lsn + frame.bytes.size(), {}};
        if (frame.header.kind == FrameKind::kRecord) {
            Bytes scratch;
            const auto payload = raw_payload(frame, scratch);
            if (!payload || !decode_record(*payload)) {
                wrong = "the journal's frame at " + std::to_string(mine.begin.bytes()) + " cannot be understood";
            } else {
                mine.payload.assign(payload->begin(), payload->end());
            }
        }
        frames_.push_back(std::move(mine));
    });
    for (const Lsn first : segments(dir)) segment_ = first <= end_ ? first : segment_;
    return wrong;
}

const History::Frame* History::at(Lsn begin) const {
    const auto it = std::lower_bound(frames_.begin(), frames_.end(), begin,
                                     [](const Frame& frame, Lsn lsn) { return frame.begin < lsn; });
    return it == frames_.end() || it->begin != begin ? nullptr : &*it;
}

std::string History::advance(Cursor& cursor, Lsn to) const {
    auto it = std::lower_bound(frames_.begin(), frames_.end(), cursor.at,
                               [](const Frame& frame, Lsn lsn) { return frame.begin < lsn; });
    for (; it != frames_.end() && it->end <= to; ++it) {
        if (it->begin != cursor.at) return "history has a gap at " + std::to_string(cursor.at.bytes());
        cursor.at = it->end;
        if (it->payload.empty()) continue;
        const auto record = decode_record(it->payload);
        if (auto wrong = cursor.tree.apply(*record); !wrong.empty()) {
            return "record " + std::to_string(it->begin.bytes()) + " (" + to_text(*record) + "): " + wrong;
        }
    }
    if (cursor.at != to) return "no record ends at " + std::to_string(to.bytes());
    return "";
}

History::Cursor History::cursor_at(Lsn at) const {
    const auto base = std::prev(bases_.upper_bound(at));
    Cursor cursor{base->second.copy(), base->first};
    if (auto wrong = advance(cursor, at); !wrong.empty()) the_world->fail(wrong);
    return cursor;
}

std::vector<History::Touched> History::touched_since(Lsn from) const {
    std::vector<Touched> paths;
    auto it = std::lower_bound(frames_.begin(), frames_.end(), from,
                               [](const Frame& frame, Lsn lsn) { return frame.begin < lsn; });
    for (; it != frames_.end(); ++it) {
        if (!it->payload.empty()) std::visit(Paths{paths}, *decode_record(it->payload));
    }
    return paths;
}

}  // namespace tdfs::sim

#include "common/journal/segment_files.hpp"

#include <fcntl.h>

#include <algorithm>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

// What else stands in a journal's directory.
bool is_known(const std::string& name) { return name == "marks" || name == "inflight" || name == "spare"; }

Unexpected<std::string> refuse(const std::string& name, const std::string& why) {
    return Unexpected("journal segment " + name + ": " + why);
}

SysResult<void> remove_files(int dir, std::vector<SegmentFile>& files, std::size_t from, std::size_t to) {
    for (auto i = from; i < to; ++i) {
        if (::unlinkat(dir, segment_name(files[i].first()).c_str(), 0) != 0 && errno != ENOENT) return fail_last();
    }
    files.erase(files.begin() + static_cast<std::ptrdiff_t>(from), files.begin() + static_cast<std::ptrdiff_t>(to));
    return {};
}

std::string describe(Lsn from, Lsn to) { return std::to_string(from.bytes()) + ".." + std::to_string(to.bytes()); }

}  // namespace

Result<std::vector<SegmentFile>, std::string> find_segments(int dir, std::vector<std::string>& notes) {
    const auto names = read_dir(dir);
    if (!names) return Unexpected("journal: its directory cannot be read: " + names.error().text());
    std::vector<SegmentFile> files;
    for (const auto& entry : *names) {
        if (is_known(entry.name)) continue;
        const auto first = parse_segment_name(entry.name);
        if (!first) {
            notes.push_back("journal: " + entry.name + " is no file of a journal; let be");
            continue;
        }
        auto fd = open_at(dir, entry.name, O_RDWR);
        if (!fd) return refuse(entry.name, "cannot be opened: " + fd.error().text());
        const auto info = stat_fd(fd->get());
        if (!info) return refuse(entry.name, "cannot be examined: " + info.error().text());
        if (!info->is_regular()) return refuse(entry.name, "is not a regular file; remove it");
        files.push_back({std::make_shared<const Segment>(*first, std::move(*fd)), info->size});
    }
    std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.first() < b.first(); });
    return files;
}

SysResult<void> close_gaps(int dir, std::vector<SegmentFile>& files, std::optional<Lsn> power_loss_durable,
                           std::vector<std::string>& notes) {
    // Youngest first, so that the stretch that stays is the one with the tail.
    for (auto i = files.size(); i-- > 1;) {
        const auto gap = files[i - 1].end();
        const auto beyond = files[i].first();
        if (gap >= beyond) continue;
        if (power_loss_durable && gap >= *power_loss_durable) {
            notes.push_back("journal: " + describe(gap, beyond) + " was not durable and is missing; cut there");
            if (auto done = remove_files(dir, files, i, files.size()); !done) return done;
        } else {
            notes.push_back("journal: " + describe(gap, beyond) + " is missing; what is older has been dropped");
            return remove_files(dir, files, 0, i);
        }
    }
    return {};
}

SysResult<std::uint64_t> end_of_content(int fd, std::uint64_t from, std::uint64_t to) {
    constexpr std::uint64_t kChunkBytes = 256 * 1024;
    std::uint64_t end = from;
    Bytes chunk;
    Errno error(0);
    const auto visited = visit_extents(fd, from, to, [&](std::uint64_t offset, std::uint64_t length, bool is_data) {
        if (!is_data) return true;
        while (length != 0 && error == Errno(0)) {
            chunk.resize(std::min(length, kChunkBytes));
            const auto got = read_some(fd, chunk, offset);
            if (!got) error = got.error();
            if (!got || *got == 0) break;
            for (std::size_t i = *got; i-- > 0;) {
                if (chunk[i] == std::byte{0}) continue;
                end = offset + i + 1;
                break;
            }
            offset += *got;
            length -= *got;
        }
        return error == Errno(0);
    });
    if (!visited) return fail(visited.error());
    if (error != Errno(0)) return fail(error);
    return end;
}

}  // namespace tdfs

// One readable line per record, for tdfsctl and for messages.
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <utility>

#include "proto/record.hpp"

namespace tdfs {

namespace {

std::string shown(std::string_view path) { return path.empty() ? "." : printable(path); }

std::string octal(std::uint32_t mode) {
    std::string digits;
    for (; mode != 0 || digits.size() < 4; mode >>= 3)
        digits.insert(digits.begin(), static_cast<char>('0' + (mode & 7)));
    return digits;
}

// Seconds with nine places: "-1.500000000" is 1.5 s before 1970.
std::string seconds(std::int64_t ns) {
    constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
    const auto magnitude = ns < 0 ? 0 - static_cast<std::uint64_t>(ns) : static_cast<std::uint64_t>(ns);
    const auto fraction = std::to_string(kNsPerSecond + magnitude % kNsPerSecond).substr(1);
    return (ns < 0 ? "-" : "") + std::to_string(magnitude / kNsPerSecond) + '.' + fraction;
}

std::string range(std::uint64_t offset, std::uint64_t length) {
    return " offset " + std::to_string(offset) + " bytes " + std::to_string(length);
}

std::string owner(std::uint32_t uid, std::uint32_t gid) { return std::to_string(uid) + ':' + std::to_string(gid); }

const char* type_name(std::uint32_t mode) {
    switch (mode & S_IFMT) {
        case S_IFREG:
            return "file";
        case S_IFDIR:
            return "directory";
        case S_IFLNK:
            return "symlink";
        case S_IFIFO:
            return "fifo";
        case S_IFSOCK:
            return "socket";
        case S_IFCHR:
            return "character device";
        case S_IFBLK:
            return "block device";
        default:
            return "object";
    }
}

std::string line(const CreateRecord& r) {
    std::string text = "create " + shown(r.path);
    if (!r.target.empty()) text += " -> " + printable(as_text(r.target));
    text += std::string(" ") + type_name(r.mode);
    if (S_ISCHR(r.mode) || S_ISBLK(r.mode)) {
        text += ' ' + std::to_string(gnu_dev_major(r.rdev)) + ':' + std::to_string(gnu_dev_minor(r.rdev));
    }
    return text + " mode " + octal(r.mode & 07777) + " owner " + owner(r.uid, r.gid);
}

std::string line(const LinkRecord& r) { return "link " + shown(r.path) + " -> " + shown(r.new_path); }
std::string line(const UnlinkRecord& r) { return "unlink " + shown(r.path); }
std::string line(const RmdirRecord& r) { return "rmdir " + shown(r.path); }

std::string line(const RenameRecord& r) {
    const bool replaces = r.replaced != ObjectId();
    return "rename " + shown(r.path) + " -> " + shown(r.new_path) +
           (r.exchange ? " (exchanges)"
            : replaces ? " (replaces)"
                       : "");
}

std::string line(const WriteRecord& r) { return "write " + shown(r.path) + range(r.offset, r.data.size()); }

std::string line(const FallocateRecord& r) {
    static constexpr std::array<std::pair<std::uint32_t, const char*>, 6> kNames{{
        {FALLOC_FL_KEEP_SIZE, " keep-size"},
        {FALLOC_FL_PUNCH_HOLE, " punch-hole"},
        {FALLOC_FL_COLLAPSE_RANGE, " collapse-range"},
        {FALLOC_FL_ZERO_RANGE, " zero-range"},
        {FALLOC_FL_INSERT_RANGE, " insert-range"},
        {FALLOC_FL_UNSHARE_RANGE, " unshare-range"},
    }};
    std::string text = "fallocate " + shown(r.path) + range(r.offset, r.length);
    auto unnamed = r.mode;
    for (const auto& [bit, name] : kNames) {
        if (r.mode & bit) text += name;
        unnamed &= ~bit;
    }
    if (unnamed != 0) text += " mode " + std::to_string(unnamed);
    return text;
}

std::string line(const CopyRangeRecord& r) {
    return "copy " + shown(r.from_path) + " offset " + std::to_string(r.from_offset) + " -> " + shown(r.path) +
           range(r.offset, r.length);
}

std::string line(const AttributesRecord& r) {
    using A = AttributesRecord;
    std::string text = "attributes " + shown(r.path);
    if (r.valid & A::kSize) text += " size " + std::to_string(r.size);
    if (r.valid & A::kUid) text += " uid " + std::to_string(r.uid);
    if (r.valid & A::kGid) text += " gid " + std::to_string(r.gid);
    if (r.valid & A::kMode) text += " mode " + octal(r.mode);
    if (r.valid & A::kMtime) text += " mtime " + seconds(r.mtime_ns);
    if (r.valid & A::kSettled) text += " (settled)";
    return text;
}

std::string line(const SetXattrRecord& r) {
    return "setxattr " + shown(r.path) + ' ' + printable(r.name) + " bytes " + std::to_string(r.value.size());
}

std::string line(const RemoveXattrRecord& r) { return "removexattr " + shown(r.path) + ' ' + printable(r.name); }
std::string line(const SyncRecord& /*r*/) { return "sync"; }

}  // namespace

std::string to_text(const Record& r) {
    return std::visit([](const auto& record) { return line(record); }, r);
}

}  // namespace tdfs

#include "common/daemon/mounts.hpp"

#include <fcntl.h>

#include <charconv>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kMaxMountinfoBytes = 16 * 1024 * 1024;

// The next word of a line, which it is cut from.
std::string_view take_word(std::string_view& line) {
    const auto end = line.find(' ');
    const auto word = line.substr(0, end);
    line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
    return word;
}

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// The kernel writes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view word) {
    std::string text;
    for (std::size_t i = 0; i < word.size(); ++i) {
        if (word[i] == '\\' && i + 3 < word.size() && is_octal(word[i + 1]) && is_octal(word[i + 2]) &&
            is_octal(word[i + 3])) {
            text += static_cast<char>((word[i + 1] - '0') * 64 + (word[i + 2] - '0') * 8 + (word[i + 3] - '0'));
            i += 3;
        } else {
            text += word[i];
        }
    }
    return text;
}

std::optional<int> parse_int(std::string_view word) {
    int value = 0;
    const auto parsed = std::from_chars(word.data(), word.data() + word.size(), value);
    if (parsed.ec != std::errc() || parsed.ptr != word.data() + word.size()) return std::nullopt;
    return value;
}

// "36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/root rw": the fields between options and "-" vary in number.
std::optional<Mount> parse_line(std::string_view line) {
    const auto id = parse_int(take_word(line));
    take_word(line);  // the mount it lies on
    const auto device = take_word(line);
    take_word(line);  // which part of the file system
    const auto point = take_word(line);
    const auto dash = line.find(" - ");
    if (!id || point.empty() || dash == std::string_view::npos) return std::nullopt;
    line.remove_prefix(dash + 3);
    const auto type = take_word(line);
    return Mount{*id, unescape(point), std::string(type), unescape(take_word(line)), std::string(device)};
}

// fdinfo's "mnt_id:\t36".
std::optional<int> mount_id_of(int fd) {
    constexpr std::size_t kLimitBytes = 64 * 1024;
    constexpr std::string_view kField = "mnt_id:\t";
    const auto raw = read_file(AT_FDCWD, "/proc/self/fdinfo/" + std::to_string(fd), kLimitBytes);
    if (!raw) return std::nullopt;
    auto text = as_text(*raw);
    const auto at = text.find(kField);
    if (at == std::string_view::npos) return std::nullopt;
    text.remove_prefix(at + kField.size());
    return parse_int(text.substr(0, text.find('\n')));
}

}  // namespace

std::vector<Mount> parse_mountinfo(std::string_view text) {
    std::vector<Mount> mounts;
    while (!text.empty()) {
        const auto end = text.find('\n');
        if (auto mount = parse_line(text.substr(0, end))) mounts.push_back(std::move(*mount));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return mounts;
}

std::vector<Mount> current_mounts() {
    const auto raw = read_file(AT_FDCWD, "/proc/self/mountinfo", kMaxMountinfoBytes);
    return raw ? parse_mountinfo(as_text(*raw)) : std::vector<Mount>();
}

std::optional<Mount> mount_of(int fd) {
    const auto id = mount_id_of(fd);
    if (!id) return std::nullopt;
    for (auto& mount : current_mounts()) {
        if (mount.id == *id) return std::move(mount);
    }
    return std::nullopt;
}

}  // namespace tdfs

#include "proto/path.hpp"

#include "proto/hex.hpp"

namespace tdfs {

bool is_valid_name(std::string_view name) {
    return !name.empty() && name.size() <= kMaxNameBytes && name != "." && name != ".." &&
           name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

bool is_valid_path(std::string_view path) {
    if (path.empty()) return true;
    if (path.size() > kMaxPathBytes) return false;
    for (;;) {
        const auto slash = path.find('/');
        if (!is_valid_name(path.substr(0, slash))) return false;
        if (slash == std::string_view::npos) return true;
        path.remove_prefix(slash + 1);
    }
}

bool is_replicated_path(std::string_view path) {
    if (!is_valid_path(path)) return false;
    return !is_within(path, kStateName) || (is_within(path, kStagePath) && path != kStagePath);
}

bool is_within(std::string_view path, std::string_view ancestor) {
    if (ancestor.empty()) return true;
    if (path.substr(0, ancestor.size()) != ancestor) return false;
    return path.size() == ancestor.size() || path[ancestor.size()] == '/';
}

std::string_view parent_of(std::string_view path) {
    const auto slash = path.rfind('/');
    return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view leaf_of(std::string_view path) {
    const auto slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string join(std::string_view parent, std::string_view name) {
    std::string path;
    path.reserve(parent.size() + 1 + name.size());
    path += parent;
    if (!parent.empty() && !name.empty()) path += '/';
    path += name;
    return path;
}

namespace {

// Length of the well-formed UTF-8 sequence at the front of `s` that stands for a character which may be shown as it
// is; 0 where there is none.
std::size_t shown_as_is(std::string_view s) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
    const unsigned first = byte(0);
    if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
    const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || s.size() < length) return 0;
    char32_t code = first & (0xffU >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80U) return 0;
        code = (code << 6) | (byte(i) & 0x3fU);
    }
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    // C1 controls, line separators and marks that change the direction of writing: a name must not be able to change
    // how the line around it reads.
    const bool control = code < 0xa0 || (code >= 0x200e && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                         (code >= 0x2066 && code <= 0x2069);
    return overlong || surrogate || code > 0x10ffff || control ? 0 : length;
}

}  // namespace

std::string printable(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size());
    while (!bytes.empty()) {
        auto n = shown_as_is(bytes);
        if (n == 0) {
            const auto value = static_cast<unsigned char>(bytes.front());
            text += "\\x";
            text += kHexDigits[value >> 4];
            text += kHexDigits[value & 15];
            n = 1;
        } else if (bytes.front() == '\\') {
            text += "\\\\";
        } else {
            text += bytes.substr(0, n);
        }
        bytes.remove_prefix(n);
    }
    return text;
}

}  // namespace tdfs

#include <dirent.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "common/os/file.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kBufferBytes = 64 * 1024;

// Adds the entries of one getdents64 answer.
void add_names(ByteView answer, std::vector<DirName>& names) {
    for (std::size_t at = 0; at < answer.size();) {
        dirent64 head{};
        constexpr auto kHeadBytes = offsetof(dirent64, d_name);
        std::memcpy(&head, answer.data() + at, kHeadBytes);
        const auto* text = reinterpret_cast<const char*>(answer.data() + at + kHeadBytes);
        const std::string_view name(text, ::strnlen(text, head.d_reclen - kHeadBytes));
        if (name != "." && name != "..") names.push_back({std::string(name), head.d_ino, head.d_type});
        at += head.d_reclen;
    }
}

}  // namespace

SysResult<std::vector<DirName>> read_dir(int dir) {
    if (::lseek(dir, 0, SEEK_SET) < 0) return fail_last();
    std::vector<DirName> names;
    Bytes buffer(kBufferBytes);
    for (;;) {
        const auto n = ::getdents64(dir, buffer.data(), buffer.size());
        if (n < 0) return fail_last();
        if (n == 0) return names;
        add_names(ByteView(buffer).first(static_cast<std::size_t>(n)), names);
    }
}

}  // namespace tdfs

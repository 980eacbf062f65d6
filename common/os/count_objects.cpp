#include <dirent.h>
#include <fcntl.h>

#include "common/os/file.hpp"
#include "proto/path.hpp"

namespace tdfs {

// Directories are opened one after the other, by their paths: the depth costs no descriptors.
std::uint64_t count_objects(int root, const std::string& path, std::uint64_t enough, std::string_view skip) {
    std::uint64_t count = path.empty() ? 0 : 1;
    std::vector<std::string> waiting{path};
    while (!waiting.empty() && count < enough) {
        const std::string here = std::move(waiting.back());
        waiting.pop_back();
        const auto dir = open_beneath(root, here, O_RDONLY | O_DIRECTORY);
        if (!dir) continue;
        const auto names = read_dir(dir->get());
        if (!names) continue;
        for (const auto& entry : *names) {
            if (here.empty() && entry.name == skip) continue;
            ++count;
            if (entry.type == DT_DIR || entry.type == DT_UNKNOWN) waiting.push_back(join(here, entry.name));
        }
    }
    return std::min(count, enough);
}

}  // namespace tdfs

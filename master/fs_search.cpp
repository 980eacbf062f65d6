// The search for the name of an object of which none is known.
#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "master/file_system.hpp"
#include "proto/path.hpp"

namespace tdfs {

// The directories of `path` become known from the root down, as if the kernel had looked them up. Whether it leads to `node`.
bool FileSystem::is_known_by(const Node* node, const std::string& path, Search how) {
    std::vector<Node*> entered;
    Node* at = nodes_.root();
    for (std::size_t begin = 0; at != nullptr && begin <= path.size();) {
        const std::size_t end = std::min(path.find('/', begin), path.size());
        const std::string name = path.substr(begin, end - begin);
        const auto found = how == Search::kAlone ? find(at, name.c_str()) : lookup(at, name.c_str());
        at = found ? found->node : nullptr;
        if (found) entered.push_back(at);
        begin = end + 1;
    }
    for (auto n = entered.rbegin(); n != entered.rend(); ++n) nodes_.forget(*n, 1);
    return at == node;
}

// An object whose known names are gone lives on under a hard link that was never looked up (it is older than the mount): it is
// searched for by inode number. Rare, so it may take as long as a walk over the tree. Others go on meanwhile, but the name may
// be moved away from where the search has yet to come: then nobody else moves anything during the next one.
SysResult<void> FileSystem::find_name(Node* node, Search how) {
    std::optional<OpLock> alone;
    if (how == Search::kAlone) alone.emplace(locks_, OpLock::Tree::kExclusive);
    std::vector<std::string> directories{""};
    while (!directories.empty()) {
        const std::string at = std::move(directories.back());
        directories.pop_back();
        auto dir = open_beneath(root_, at, O_RDONLY | O_DIRECTORY);
        if (!dir) continue;  // gone meanwhile
        auto names = read_dir(dir->get());
        if (!names) return fail(names.error());
        for (const DirName& entry : *names) {
            if (at.empty() && entry.name == kStateName) continue;
            if (entry.type == DT_DIR || entry.type == DT_UNKNOWN) directories.push_back(join(at, entry.name));
            if (entry.ino == node->id.ino && is_known_by(node, join(at, entry.name), how)) return {};
        }
    }
    return fail(ESTALE);
}

}  // namespace tdfs

// Builds directory chains longer than PATH_MAX, one component at a time.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <string>

#include "common/os/file.hpp"
#include "tests/support/catch.hpp"

namespace tdfs::test {

// Makes `depth` directories called `name`, each in the one before; returns the path of the last one beneath `root`.
inline std::string make_deep_tree(int root, const std::string& name, int depth) {
    std::string path;
    OwnFd here;
    for (int i = 0; i < depth; ++i) {
        const int parent = here ? here.get() : root;
        REQUIRE(::mkdirat(parent, name.c_str(), 0755) == 0);
        auto next = open_at(parent, name, O_RDONLY | O_DIRECTORY);
        REQUIRE(next.has_value());
        here = std::move(*next);
        path += (path.empty() ? "" : "/") + name;
    }
    return path;
}

}  // namespace tdfs::test

// tree_diff A B: says in which ways two directory trees differ, one line each. Exit status 0: equal, 1: not, 2: wrong usage.

#include <iostream>

#include "tests/support/tree_compare.hpp"

int main(int argc, char* argv[]) {
    if (argc != 3) {
        std::cerr << "usage: tree_diff DIRECTORY DIRECTORY\n";
        return 2;
    }
    const auto found = tdfs::test::compare_trees(argv[1], argv[2]);
    for (const std::string& line : found) {
        std::cout << line << "\n";
    }
    return found.empty() ? 0 : 1;
}

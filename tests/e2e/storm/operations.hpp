// One random operation of a storm.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>

namespace tdfs::e2e {

// Owned and used by one thread.
class Operations {
  public:
    Operations(std::string root, std::uint64_t seed) : root_(std::move(root)), random_(seed) { kept_.fill(-1); }
    ~Operations();
    Operations(const Operations&) = delete;
    Operations& operator=(const Operations&) = delete;

    struct Done {
        const char* name;
        int error;  // errno, 0: success
    };
    Done any();

  private:
    using Operation = int (Operations::*)();
    struct Weighted {
        const char* name;
        Operation run;
        unsigned weight;
    };
    static const Weighted kOperations[];

    std::size_t below(std::size_t limit) { return random_() % limit; }
    std::string directory();
    std::string path();
    std::string text();

    int create();
    int append();
    int overwrite();
    int cut();
    int allocate();
    int copy();
    int map();
    int unnamed();
    int unlinked();
    int rename();
    int exchange();
    int swap();
    int keep();
    int rename_directory();
    int link();
    int unlink();
    int make_directory();
    int remove_directory();
    int symlink();
    int special();
    int mode();
    int owner();
    int times();
    int set_xattr();
    int remove_xattr();
    int access_list();
    int look();
    int list();

    const std::string root_;
    std::mt19937_64 random_;
    std::array<int, 4>
        kept_;  // files that stay open over many operations, also while directories above them move; -1: none
};

}  // namespace tdfs::e2e

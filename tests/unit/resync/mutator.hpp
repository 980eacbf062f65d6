// A master's programs, seeded: random operations on a tree, each with the record that the master would write.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/resync/fixture.hpp"

namespace tdfs::test {

class Mutator {
  public:
    Mutator(Master& master, std::uint64_t seed) : master_(master), random_(seed) {}

    // One operation. Its record may come some operations later, as that of a commit that is slow, but in order.
    void step();
    void flush();  // all records are written

  private:
    using Names = std::map<std::string, std::uint32_t>;  // paths and their st_mode

    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    bool chance(unsigned percent) { return below(100) < percent; }
    std::string any(std::uint32_t type);  // a path of that type; "" where there is none
    std::string any_object();             // not the root
    std::string fresh();                  // a path that is not there, in a directory that is
    std::string full(const std::string& path) const { return master_.path(path); }
    ObjectId id(const std::string& path) const;
    void record(const Record& r);
    Bytes content(std::size_t n);

    void create();
    void create_elsewhere();
    void remove();
    void rename();
    void exchange();
    void link();
    void write();
    void write_secretly();
    void resize();
    void punch();
    void attributes();
    void times();
    void xattr();
    void move_names(const std::string& from, const std::string& to, Names& names);

    Master& master_;
    std::mt19937_64 random_;
    Names names_;
    std::deque<Bytes> late_;
    std::uint64_t count_ = 0;
};

}  // namespace tdfs::test

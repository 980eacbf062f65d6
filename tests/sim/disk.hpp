// What a machine's disk would hold if the power went now.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/random.hpp"
#include "tests/sim/tree.hpp"

namespace tdfs::sim {

// The process's directory itself stands for what the kernel shows (its page cache); here stands what is surely on the disk:
// contents and attributes as of the last sync of each object, and names as of the last sync of each directory, with
// the changes of names since. A power cut rebuilds the directory from that and from a random part of what was not
// synced: contents in sectors of 512 bytes, growth up to some page, attributes or not, and changes of names
//   in order     as a journalling file system does: some number of them from the first on, or
//   loosely      any set in which nothing stands that depends on what does not.
//
// Inodes are those of the directory's file system, which does not use a number twice.
class Disk {
  public:
    Disk(std::string dir, Random random);

    struct Entry {
        std::uint64_t directory;
        std::string name;
        std::uint64_t ino;  // 0: the name goes
    };
    // One call has changed these names, at once.
    void renamed(std::vector<Entry> entries, std::vector<std::uint64_t> objects);
    void created(std::uint64_t ino, const std::string& path);  // before its renamed()

    void sync_file(int fd);
    void sync_directory(int fd);
    void sync_all();
    void write_back();  // what the kernel does now and then, to some of it

    void begin();      // what stands there now is on the disk
    void cut_power();  // the directory is as it is found afterwards

  private:
    struct Change {
        std::vector<Entry> entries;
        std::vector<std::uint64_t> objects;  // moved, made or gone; and directories that are named
    };
    using Names = std::map<std::uint64_t, std::map<std::string, std::uint64_t>>;

    [[nodiscard]] static bool depends(const Change& later, const Change& earlier);
    void carry_out(const Change& change);
    void settle(const std::vector<bool>& chosen);  // these changes are on the disk
    [[nodiscard]] Object merged(const Object* old, const Object* now);
    void keep(const Object& now);
    void rebuild(const std::map<std::uint64_t, const Object*>& now);
    void rebuild_directory(std::uint64_t ino, const std::string& path,
                           const std::map<std::uint64_t, const Object*>& now,
                           std::map<std::uint64_t, std::string>& made);

    const std::string dir_;
    Random random_;
    bool in_order_;
    std::uint64_t root_ = 0;
    std::map<std::uint64_t, Object> objects_;  // as synced last
    std::map<std::uint64_t, Object> births_;   // as created, never synced
    Names names_;
    std::vector<Change> changes_;
};

}  // namespace tdfs::sim

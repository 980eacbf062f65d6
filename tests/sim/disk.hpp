// What a machine's disk would hold if the power went now.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/lost_pages.hpp"
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
// Writing back may fail (bad_spell.hpp): some of the content is lost then (lost_pages.hpp), attributes and names stay to be
// written. The kernel tells of it once for the file and once for the file system.
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

    // The same, failing.
    void lose_file(int fd, Random& chance);
    void lose_some(Random& chance);  // of all files, in the background or by syncfs
    // Whether a sync of this file has something to tell, from now on or from earlier; `told`: it is taken as told.
    [[nodiscard]] bool owes_error(std::uint64_t ino, bool told);
    [[nodiscard]] std::uint64_t errors() const { return errors_; }
    std::uint64_t errors_told = 0;  // so many of them some syncfs has told of

    // The content of a file has been changed there, or its end moved.
    void written(std::uint64_t ino, std::uint64_t offset, std::uint64_t bytes) { lost_.written(ino, offset, bytes); }
    void cut(std::uint64_t ino, std::uint64_t size) { lost_.cut(ino, size); }
    void drop_cache(int fd);  // the kernel lets go of what it takes for clean, and shows what the disk has
    [[nodiscard]] bool has_lost(std::uint64_t ino) const { return lost_.any_of(ino); }

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
    [[nodiscard]] const Object& on_disk(std::uint64_t ino) const;
    void lose(const Object& now, Random& chance);
    void begin(bool all_of_it);
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
    LostPages lost_;
    std::set<std::uint64_t> owed_;  // files whose next sync tells of an error
    std::uint64_t errors_ = 0;
};

}  // namespace tdfs::sim

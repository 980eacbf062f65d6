// The locks that order operations on the same objects, and with them the journal.
#pragma once

#include <pthread.h>

#include <array>
#include <cstdint>

namespace tdfs {

// A shared mutex that lets no new reader in while a writer waits: a rename of a directory and the hold at the end of a
// resync must not starve behind a stream of small operations. Not recursive, also not for readers.
class FairSharedMutex {
  public:
    FairSharedMutex();
    ~FairSharedMutex();
    FairSharedMutex(const FairSharedMutex&) = delete;
    FairSharedMutex& operator=(const FairSharedMutex&) = delete;
    void lock();
    void unlock();
    bool try_lock_shared();
    void lock_shared();
    void unlock_shared();

  private:
    pthread_rwlock_t lock_;
};

// Lock order: tree, directories (by stripe), objects (by stripe); below them only leaf locks (node table, journal).
//
//   tree         shared: every operation that names or changes something; exclusive: rename of a directory (paths
//                beneath it change), and the hold of all writers.
//   directories  the names in a directory: exclusive to change them, shared to look one up.
//   objects      content and attributes of an object, and which names it has.
//
// Directories and objects are striped by inode number: two that share a stripe only wait for each other.
class Locks {
  public:
    static constexpr std::size_t kStripes = 256;
    FairSharedMutex tree;
    FairSharedMutex& directory(std::size_t stripe) { return directories_[stripe]; }
    FairSharedMutex& object(std::size_t stripe) { return objects_[stripe]; }
    static std::size_t stripe(std::uint64_t ino) { return (ino * 0x9E3779B97F4A7C15ull) >> 56; }

  private:
    std::array<FairSharedMutex, kStripes> directories_;
    std::array<FairSharedMutex, kStripes> objects_;
};

// What one operation holds; released in reverse order at the end of the scope. Take the parts in lock order, each
// kind at most once.
class OpLock {
  public:
    enum class Tree { kShared, kExclusive };
    explicit OpLock(Locks& locks, Tree tree = Tree::kShared);
    ~OpLock() { release(); }
    OpLock(const OpLock&) = delete;
    OpLock& operator=(const OpLock&) = delete;

    void read_directory(std::uint64_t ino);
    void change_directory(std::uint64_t ino) { change_directories(ino, ino); }
    void change_directories(std::uint64_t a, std::uint64_t b);
    void read_object(std::uint64_t ino);
    void change_object(std::uint64_t ino) { change_objects(ino, ino); }
    void change_objects(std::uint64_t a, std::uint64_t b);
    void release();

  private:
    struct Held {
        FairSharedMutex* lock;
        bool shared;
    };
    void take(FairSharedMutex& lock, bool shared);
    Locks& locks_;
    std::array<Held, 5> held_{};
    std::size_t count_ = 0;
};

}  // namespace tdfs

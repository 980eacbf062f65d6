#include "master/locks.hpp"

#include <algorithm>

#include "master/crew.hpp"
#include "proto/result.hpp"

namespace tdfs {

FairSharedMutex::FairSharedMutex() {
    pthread_rwlockattr_t attributes;
    int e = pthread_rwlockattr_init(&attributes);
    e |= pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    e |= pthread_rwlock_init(&lock_, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    TDFS_INVARIANT(e == 0, "a read-write lock can be made");
}
FairSharedMutex::~FairSharedMutex() { pthread_rwlock_destroy(&lock_); }
void FairSharedMutex::lock() {
    TDFS_INVARIANT(pthread_rwlock_wrlock(&lock_) == 0, "a lock is not taken twice by one thread");
}
void FairSharedMutex::unlock() { pthread_rwlock_unlock(&lock_); }
bool FairSharedMutex::try_lock_shared() { return pthread_rwlock_tryrdlock(&lock_) == 0; }
void FairSharedMutex::lock_shared() {
    TDFS_INVARIANT(pthread_rwlock_rdlock(&lock_) == 0, "a lock is not taken twice by one thread");
}
void FairSharedMutex::unlock_shared() { pthread_rwlock_unlock(&lock_); }

OpLock::OpLock(Locks& locks, Tree tree) : locks_(locks) { take(locks_.tree, tree == Tree::kShared); }

void OpLock::take(FairSharedMutex& lock, bool shared) {
    TDFS_INVARIANT(count_ < held_.size(), "an operation holds at most the tree, two directories and two objects");
    const bool taken = shared && lock.try_lock_shared();
    if (!taken && &lock == &locks_.tree) about_to_wait();  // whoever holds all writers does so for long
    if (!taken) shared ? lock.lock_shared() : lock.lock();
    held_[count_++] = {&lock, shared};
}

void OpLock::read_directory(std::uint64_t ino) { take(locks_.directory(Locks::stripe(ino)), true); }
void OpLock::read_object(std::uint64_t ino) { take(locks_.object(Locks::stripe(ino)), true); }

void OpLock::change_directories(std::uint64_t a, std::uint64_t b) {
    const auto [first, second] = std::minmax({Locks::stripe(a), Locks::stripe(b)});
    take(locks_.directory(first), false);
    if (second != first) take(locks_.directory(second), false);
}
void OpLock::change_objects(std::uint64_t a, std::uint64_t b) {
    const auto [first, second] = std::minmax({Locks::stripe(a), Locks::stripe(b)});
    take(locks_.object(first), false);
    if (second != first) take(locks_.object(second), false);
}

void OpLock::release() {
    while (count_ > 0) {
        const Held& h = held_[--count_];
        h.shared ? h.lock->unlock_shared() : h.lock->unlock();
    }
}

}  // namespace tdfs

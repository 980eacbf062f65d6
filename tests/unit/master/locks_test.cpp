#include "master/locks.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include "tests/support/catch.hpp"

using namespace tdfs;

TEST_CASE("an exclusive holder of the tree gets in although readers never pause") {
    Locks locks;
    std::atomic<bool> stop{false};
    std::vector<std::thread> readers;
    for (int i = 0; i < 4; ++i) {
        readers.emplace_back([&] {
            while (!stop) const OpLock lock(locks);
        });
    }
    for (int i = 0; i < 100; ++i) const OpLock lock(locks, OpLock::Tree::kExclusive);
    stop = true;
    for (auto& t : readers) t.join();
}

TEST_CASE("two directories or objects that share a stripe are locked once") {
    Locks locks;
    std::uint64_t other = 2;
    while (Locks::stripe(other) != Locks::stripe(1)) ++other;
    OpLock lock(locks);
    lock.change_directories(1, other);
    lock.change_objects(other, 1);
    lock.release();
    OpLock again(locks, OpLock::Tree::kExclusive);
    again.change_directories(other, 1);
}

TEST_CASE("operations that take two locks in either order do not wait for each other for ever") {
    Locks locks;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (std::uint64_t i = 0; i < 2000; ++i) {
                OpLock lock(locks);
                const std::uint64_t a = i % 7, b = i % 5;
                lock.change_directories(t % 2 == 0 ? a : b, t % 2 == 0 ? b : a);
                lock.change_objects(t % 2 == 0 ? b : a, t % 2 == 0 ? a : b);
            }
        });
    }
    for (auto& t : threads) t.join();
}

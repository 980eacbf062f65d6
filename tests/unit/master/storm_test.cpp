// Several threads at work on one tree: the journal, replayed by one, gives the tree they made.
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <array>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/unit/master/fixture.hpp"

using namespace tdfs;
using tdfs::test::Master;

namespace {
std::uint64_t storm_seed() {
    const char* const given = std::getenv("TDFS_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
}

// One thread's random operations on few names in few directories, so that they collide all the time.
class Worker {
  public:
    Worker(Master& m, const std::array<Node*, 3>& dirs, std::uint64_t seed) : m_(m), dirs_(dirs), random_(seed) {}

    void run(int operations) {
        for (int i = 0; i < operations; ++i) step();
    }

  private:
    std::uint64_t pick(std::uint64_t n) { return random_() % n; }
    Node* dir() { return dirs_[pick(dirs_.size())]; }
    std::string name() { return std::string(1, static_cast<char>('a' + pick(6))); }

    template <class Do>
    void with_file(Do&& work) {
        const auto found = m_.fs->lookup(dir(), name().c_str());
        if (!found) return;
        if (found->info.is_regular()) {
            if (auto file = m_.fs->open(found->node, O_RDWR)) {
                work(**file);
                m_.fs->close(std::move(*file));
            }
        }
        m_.fs->forget(found->node, 1);
    }
    void forget(const SysResult<Found>& found) {
        if (found) m_.fs->forget(found->node, 1);
    }

    void step() {
        const std::string data(1 + pick(9000), static_cast<char>('A' + pick(26)));
        switch (pick(12)) {
            case 0:
            case 1: {
                auto made = m_.fs->create({}, dir(), name().c_str(), 0644, O_RDWR);
                if (!made) return;
                (void)m_.fs->write(*made->second, as_bytes(data), pick(5000), {});
                m_.fs->close(std::move(made->second));
                m_.fs->forget(made->first.node, 1);
                return;
            }
            case 2:
                with_file([&](OpenFile& f) {
                    (void)m_.fs->write(f, as_bytes(data), pick(20'000), {.append = pick(2) == 0});
                });
                return;
            case 3:
                (void)m_.fs->unlink(dir(), name().c_str());
                return;
            case 4:
            case 5:
                (void)m_.fs->rename(dir(), name().c_str(), dir(), name().c_str(),
                                    pick(3) == 0 ? RENAME_EXCHANGE : (pick(3) == 0 ? RENAME_NOREPLACE : 0));
                return;
            case 6: {
                const auto found = m_.fs->lookup(dir(), name().c_str());
                if (!found) return;
                if (!found->info.is_dir()) forget(m_.fs->link(found->node, dir(), name().c_str()));
                m_.fs->forget(found->node, 1);
                return;
            }
            case 7:
                forget(m_.fs->make_node({}, dir(), name().c_str(), S_IFDIR | 0755, 0));
                return;
            case 8:
                (void)m_.fs->rmdir(dir(), name().c_str());
                return;
            case 9:
                forget(m_.fs->symlink({}, dir(), name().c_str(), data.substr(0, 40).c_str()));
                return;
            case 10:
                with_file([&](OpenFile& f) {
                    AttributeChange c;
                    c.valid = 1 + static_cast<std::uint32_t>(pick(31));
                    c.mode = static_cast<std::uint32_t>(pick(01000));
                    c.uid = static_cast<std::uint32_t>(pick(3));
                    c.gid = static_cast<std::uint32_t>(pick(3));
                    c.size = pick(20'000);
                    c.mtime_ns = static_cast<std::int64_t>(pick(1'000'000'000'000));
                    (void)m_.fs->set_attributes(f.node, nullptr, c);
                });
                return;
            default:
                with_file([&](OpenFile& f) {
                    if (pick(2) == 0) {
                        (void)m_.fs->set_xattr(f.node, "user.k", as_bytes(data.substr(0, 30)), 0, false);
                    } else {
                        (void)m_.fs->fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096 * pick(4), 4096,
                                               nullptr);
                    }
                });
        }
    }

    Master& m_;
    const std::array<Node*, 3>& dirs_;
    std::mt19937_64 random_;
};
}  // namespace

TEST_CASE("whatever threads do to one tree at once, its journal replayed in order gives the same tree") {
    const std::uint64_t seed = storm_seed();
    INFO("TDFS_SEED=" << seed);
    std::printf("storm seed %llu\n", static_cast<unsigned long long>(seed));
    Master m(seed % 2 == 0);
    m.settler->start();
    Node* const x = m.must_make(m.root(), "x", S_IFDIR | 0755).node;
    const std::array<Node*, 3> dirs{m.root(), x, m.must_make(x, "y", S_IFDIR | 0755).node};
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] { Worker(m, dirs, seed * 4 + t).run(1500); });
    }
    for (auto& t : threads) t.join();
    m.settler->settle_all();
    m.settler->stop();
    CHECK(m.differences_after_replay() == "");
    m.nodes->forget(dirs[1], 1);
    m.nodes->forget(dirs[2], 1);
}

TEST_CASE("a hold of the writers finds the journal complete") {
    const std::uint64_t seed = storm_seed();
    INFO("TDFS_SEED=" << seed);
    Master m;
    const std::array<Node*, 3> dirs{m.root(), m.root(), m.root()};
    std::thread writer([&] { Worker(m, dirs, seed).run(3000); });
    for (int i = 0; i < 50; ++i) {
        const OpLock hold(m.locks, OpLock::Tree::kExclusive);
        const Lsn tail = m.journal->tail();
        auto mine = m.journal->reserve(1, {});  // the next place there is
        REQUIRE(mine);
        CHECK(mine->lsn() == tail);
        REQUIRE(m.journal->abandon(std::move(*mine)));
    }
    writer.join();
}

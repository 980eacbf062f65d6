#include "master/file_system.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>

#include "master/settle_restart.hpp"
#include "tests/support/small_disk.hpp"
#include "tests/unit/master/fixture.hpp"

using namespace tdfs;
using tdfs::test::Master;
using tdfs::test::NoMoreDescriptors;

namespace {
ByteView bytes(std::string_view text) { return as_bytes(text); }

}  // namespace

TEST_CASE("what is done to files stands in the journal, and replayed gives the same tree", "[replay]") {
    const bool compress = GENERATE(false, true);
    Master m(compress);
    Node* const d = m.must_make(m.root(), "d", S_IFDIR | 0750).node;
    auto f = m.must_create(d, "f");
    const std::string text(100'000, 'x');
    CHECK(m.fs->write(*f, bytes(text), 5000, {}).value() == text.size());
    CHECK(m.fs->write(*f, bytes("tail"), 0, {.append = true}).value() == 4);
    CHECK(m.fs->fallocate(*f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 16384, nullptr));
    auto g = m.must_create(d, "g");
    CHECK(m.fs->copy_range(*f, 0, *g, 4096, 50'000, nullptr).value() == 50'000);
    AttributeChange change;
    change.valid = AttributesRecord::kMode | AttributesRecord::kMtime | AttributesRecord::kSize;
    change.mode = 04711;
    change.size = 60'000;
    change.mtime_ns = 123'456'789'987'654'321;
    CHECK(m.fs->set_attributes(f->node, nullptr, change));
    CHECK(m.fs->set_xattr(g->node, "user.note", bytes("value"), 0, false));
    CHECK(m.fs->symlink({}, m.root(), "s", "d/f"));
    CHECK(m.fs->link(g->node, m.root(), "g2"));
    CHECK(m.fs->make_node({}, d, "fifo", S_IFIFO | 0600, 0));
    CHECK(m.fs->rename(m.root(), "d", m.root(), "e", 0));
    CHECK(m.fs->write(*g, bytes("after the rename"), 10, {}).value() == 16);
    m.fs->close(std::move(f));
    m.fs->close(std::move(g));
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}

TEST_CASE("a file that is never quiet does not hold history back without end") {
    Master m;
    auto f = m.must_create(m.root(), "log");
    m.settler->start();
    const std::string text(1 << 20, 'x');
    constexpr std::uint64_t kPlenty = 64 * Settler::kFarBytes;
    for (int i = 0; m.settler->settled_lsn() == Lsn(0) && m.journal->tail() < Lsn(kPlenty); ++i) {
        REQUIRE(m.fs->write(*f, bytes(text), static_cast<std::uint64_t>(i % 4) << 20, {}).value() == text.size());
    }
    CHECK(m.settler->settled_lsn() > Lsn(0));
    m.settler->stop();
    m.fs->close(std::move(f));
}

TEST_CASE("an operation that fails leaves no record") {
    Master m;
    m.must_make(m.root(), "d", S_IFDIR | 0755);
    Node* const full = m.must_make(m.root(), "full", S_IFDIR | 0755).node;
    m.must_make(full, "x", S_IFREG | 0644);
    const auto before = m.records();
    CHECK(m.fs->make_node({}, m.root(), "d", S_IFDIR | 0755, 0).error() == Errno(EEXIST));
    CHECK(m.fs->unlink(m.root(), "nothing").error() == Errno(ENOENT));
    CHECK(m.fs->unlink(m.root(), "d").error() == Errno(EISDIR));
    CHECK(m.fs->rmdir(m.root(), "full").error() == Errno(ENOTEMPTY));
    CHECK(m.fs->rename(m.root(), "d", m.root(), "full", 0).error() == Errno(ENOTEMPTY));
    CHECK(m.fs->rename(m.root(), "d", m.root(), "full", RENAME_NOREPLACE).error() == Errno(EEXIST));
    CHECK(m.records() == before);
}

TEST_CASE("the state directory cannot be seen or touched") {
    Master m;
    REQUIRE(::mkdirat(m.backing.fd(), ".tdfs", 0700) == 0);
    CHECK(m.fs->lookup(m.root(), ".tdfs").error() == Errno(ENOENT));
    CHECK_FALSE(m.fs->make_node({}, m.root(), ".tdfs", S_IFREG | 0644, 0));
    CHECK_FALSE(m.fs->rmdir(m.root(), ".tdfs"));
    m.must_make(m.root(), "d", S_IFDIR | 0755);
    CHECK_FALSE(m.fs->rename(m.root(), "d", m.root(), ".tdfs", 0));
    auto dir = m.fs->open_directory(m.root());
    REQUIRE(dir);
    std::vector<std::string> names;
    CHECK(m.fs->read_directory(**dir, 0, [&](const DirEntry& e) {
        names.emplace_back(e.name);
        return true;
    }));
    m.fs->close_directory(std::move(*dir));
    std::sort(names.begin(), names.end());
    CHECK(names == std::vector<std::string>{".", "..", "d"});
}

TEST_CASE(
    "a file that lost its name is written without records, and one that lives on under a name never seen with it") {
    Master m;
    auto gone = m.must_create(m.root(), "gone");
    CHECK(m.fs->unlink(m.root(), "gone"));
    const auto before = m.records();
    CHECK(m.fs->write(*gone, bytes("nobody sees this"), 0, {}));
    CHECK(m.fs->attributes(gone->node).value().links == 0);
    CHECK(m.records() == before);
    m.fs->close(std::move(gone));

    auto f = m.must_create(m.root(), "known");
    m.must_make(m.root(), "d", S_IFDIR | 0755);
    REQUIRE(::linkat(m.backing.fd(), "known", m.backing.fd(), "d/hidden", 0) == 0);  // as if it had always been there
    CHECK(m.fs->unlink(m.root(), "known"));
    CHECK(m.fs->write(*f, bytes("seen"), 0, {}).value() == 4);
    CHECK_THAT(m.records().back(), Catch::Matchers::ContainsSubstring("d/hidden"));
    m.fs->close(std::move(f));
}

TEST_CASE("the time of a file arrives that lives on under a name which the kernel never looked up") {
    Master m;
    const bool replaced = GENERATE(false, true);
    {
        auto made = m.fs->create({}, m.root(), "known", 0644, O_RDWR);
        REQUIRE(made);
        CHECK(m.fs->link(made->first.node, m.root(), "other"));
        m.fs->close(std::move(made->second));
        m.fs->forget(made->first.node, 2);
    }
    m.settler->settle_all();
    const auto found = m.fs->lookup(m.root(), "known");
    REQUIRE(found);
    auto f = m.fs->open(found->node, O_RDWR);
    REQUIRE(f);
    CHECK(m.fs->write(**f, bytes("changed"), 0, {}));
    if (replaced) {
        m.fs->close(m.must_create(m.root(), "new"));
        CHECK(m.fs->rename(m.root(), "new", m.root(), "known", 0));
    } else {
        CHECK(m.fs->unlink(m.root(), "known"));
    }
    m.fs->close(std::move(*f));
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}

TEST_CASE("what is done to a file arrives that lives on under a name which the kernel never looked up") {
    Master m;
    {
        auto made = m.must_create(m.root(), "known");
        Node* const node = made->node;
        CHECK(m.fs->set_xattr(node, "user.old", bytes("value"), 0, false));
        CHECK(m.fs->link(node, m.must_make(m.root(), "d", S_IFDIR | 0755).node, "other"));
        m.fs->close(std::move(made));
        m.fs->forget(node, 2);
    }
    m.settler->settle_all();
    const auto found = m.fs->lookup(m.root(), "known");
    REQUIRE(found);
    auto f = m.fs->open(found->node, O_RDWR);
    REQUIRE(f);
    CHECK(m.fs->unlink(m.root(), "known"));
    SECTION("an extended attribute set") { CHECK(m.fs->set_xattr(found->node, "user.new", bytes("value"), 0, false)); }
    SECTION("an extended attribute removed") { CHECK(m.fs->remove_xattr(found->node, "user.old")); }
    SECTION("its mode") {
        AttributeChange change;
        change.valid = AttributesRecord::kMode;
        change.mode = 0600;
        CHECK(m.fs->set_attributes(found->node, nullptr, change));
    }
    SECTION("its content") { CHECK(m.fs->write(**f, bytes("changed"), 0, {})); }
    SECTION("space") { CHECK(m.fs->fallocate(**f, 0, 0, 4096, nullptr)); }
    m.fs->close(std::move(*f));
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}

TEST_CASE("a name that was never looked up is found while its directory is moved about") {
    Master m;
    std::array<Node*, 40> places{};
    for (std::size_t n = 0; n < places.size(); n++) {
        places[n] = m.must_make(m.root(), ("place" + std::to_string(n)).c_str(), S_IFDIR | 0755).node;
    }
    Node* const moved = m.must_make(places[0], "moved", S_IFDIR | 0755).node;
    std::atomic<bool> stop{false};
    std::size_t refused = 0;
    std::thread mover([&] {
        for (std::size_t at = 0; !stop;) {
            const std::size_t next = (at + 17) % places.size();
            if (!m.fs->rename(places[at], "moved", places[next], "moved", 0)) refused++;
            at = next;
        }
    });
    for (int n = 0; n < 100; n++) {
        const std::string other = "other" + std::to_string(n);
        auto made = m.must_create(m.root(), "known");
        Node* const node = made->node;
        CHECK(m.fs->link(node, moved, other.c_str()));
        m.fs->close(std::move(made));
        m.fs->forget(node, 2);
        m.settler->settle_all();
        const auto found = m.fs->lookup(m.root(), "known");
        auto f = m.fs->open(found.value().node, O_RDWR);
        CHECK(m.fs->unlink(m.root(), "known"));
        CHECK(m.fs->set_xattr((*f)->node, "user.new", bytes("value"), 0, false));
        m.fs->close(std::move(*f));
    }
    stop = true;
    mover.join();
    CHECK(refused == 0);
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}

TEST_CASE("a change of content that fails may have changed the time, which arrives all the same") {
    Master m;
    m.fs->close(m.must_create(m.root(), "f"));
    auto source = m.must_create(m.root(), "source");
    CHECK(m.fs->write(*source, bytes("content"), 0, {}));
    m.settler->settle_all();
    auto f = m.fs->open(m.fs->lookup(m.root(), "f").value().node, O_RDONLY);  // takes none of these
    REQUIRE(f);
    SECTION("write") { CHECK_FALSE(m.fs->write(**f, bytes("more"), 0, {})); }
    SECTION("fallocate") { CHECK_FALSE(m.fs->fallocate(**f, 0, 0, 100, nullptr)); }
    SECTION("copy") { CHECK_FALSE(m.fs->copy_range(*source, 0, **f, 0, 7, nullptr)); }
    CHECK(m.records().back() == "write f offset 0 bytes 0");    // where a restart finds it
    REQUIRE(set_mtime_at(m.backing.fd(), "f", 1'000'000'007));  // as a disk that is full does
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
    m.fs->close(std::move(*f));
    m.fs->close(std::move(source));
}

TEST_CASE("a copy within a file ends where the file ended before it") {
    Master m;
    auto f = m.must_create(m.root(), "f");
    CHECK(m.fs->write(*f, bytes("0123456789"), 0, {}));
    CHECK(m.fs->copy_range(*f, 4, *f, 20, 2000, nullptr).value() == 6);
    CHECK(m.fs->copy_range(*f, 26, *f, 40, 2000, nullptr).value() == 0);
    CHECK(m.records().back() == "copy f offset 4 -> f offset 20 bytes 6");
    m.fs->close(std::move(f));
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}

TEST_CASE("a write that fails takes no more of the journal than was reserved for it, also when it is compressed") {
    Master m(true);
    const std::string name(200, 'n');  // compressed with the data, the record is shorter than without
    m.fs->close(m.must_create(m.root(), name.c_str()));
    m.settler->settle_all();
    auto f = m.fs->open(m.fs->lookup(m.root(), name.c_str()).value().node, O_RDONLY);
    REQUIRE(f);
    const Lsn before = m.journal->tail();
    CHECK_FALSE(m.fs->write(**f, bytes(std::string(1000, 'x')), 0, {}));
    Bytes head;
    encode_write_head({(*f)->node->id, name, 0, {}}, head);
    CHECK(m.journal->tail() == before + kFrameHeaderBytes + head.size());
    CHECK(m.records().back() == "write " + name + " offset 0 bytes 0");
    m.fs->close(std::move(*f));
}

TEST_CASE("what a stop cannot settle is settled by the next start") {
    Master m;
    m.settler->start();
    const auto d = m.must_make(m.root(), "d", S_IFDIR | 0755);
    const auto e = m.must_make(d.node, "e", S_IFDIR | 0755);
    std::vector<Node*> others;
    for (int i = 0; i < 64; i++)
        others.push_back(m.must_make(m.root(), std::to_string(i).c_str(), S_IFDIR | 0755).node);
    m.settler->settle_all();
    m.fs->close(m.must_create(e.node, "f"));
    const Lsn tail = m.journal->tail();
    for (Node* const other : others) CHECK_FALSE(m.fs->lookup(other, "nothing"));  // now d and e have to be opened anew
    {
        const NoMoreDescriptors none;
        m.settler->settle_all();
        m.settler->stop();
    }
    CHECK(m.journal->tail() == tail);
    CHECK(m.settler->settled_lsn() < tail);
    const auto settled = settle_at_restart(m.backing.fd(), *m.journal, *m.mutator, m.settler->settled_lsn());
    REQUIRE(settled);
    CHECK(*settled == 2);  // the file and its directory
    CHECK(m.differences_after_replay() == "");
}

TEST_CASE("a stop that settles everything leaves nothing to the next start") {
    Master m;
    m.settler->start();
    m.fs->close(m.must_create(m.root(), "f"));
    m.settler->settle_all();
    m.settler->stop();
    CHECK(m.settler->settled_lsn() == m.journal->tail());
}

TEST_CASE("a file that is written all the time does not keep the journal for ever") {
    Master m;
    m.settler->start();
    auto f = m.must_create(m.root(), "log");
    const Lsn before = m.journal->tail();
    while (m.settler->settled_lsn() < before) {  // hangs if the promise is broken
        CHECK(m.fs->write(*f, bytes("line"), 0, {.append = true}));
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    m.fs->close(std::move(f));
    m.settler->stop();
}

TEST_CASE(
    "a writer that is faster than times are settled fills the disk with history, which goes, and is not refused") {
    test::SmallDisk disk("64M");
    if (!disk.mounted()) return;
    Master m(false, {.segment_bytes = 8 << 20}, disk.fd());  // nobody settles by himself here
    m.mutator->on_full([&] {
        m.settler->forget_settled();
        const Lsn oldest = m.journal->oldest();
        const auto segment = m.journal->view(oldest);
        if (!segment || oldest + segment->bytes > m.settler->settled_lsn()) return false;
        return m.journal->drop_before(oldest + segment->bytes) && m.journal->oldest() != oldest;
    });
    auto file = m.must_create(m.root(), "f");
    const std::string text(1 << 20, 'x');
    for (int i = 0; i < 200; ++i) {
        CAPTURE(i);
        REQUIRE(m.fs->write(*file, bytes(text), 0, {}));
    }
    CHECK(m.journal->oldest() > Lsn(100 << 20));
    m.fs->close(std::move(file));
}

TEST_CASE("a file made by O_TMPFILE comes whole when it gets a name") {
    Master m;
    auto made = m.fs->tmpfile({}, m.root(), 0640, O_RDWR);
    REQUIRE(made);
    OpenFile& f = *made->second;
    const std::string text(3'000'000, 'y');
    CHECK(m.fs->write(f, bytes(text.substr(0, 1 << 20)), 8192, {}));
    CHECK(m.fs->set_xattr(f.node, "user.k", bytes("v"), 0, false));
    CHECK(m.records().empty());
    CHECK(m.fs->link(f.node, m.root(), "named"));
    CHECK(m.fs->write(f, bytes("more"), 1, {}).value() == 4);
    m.fs->close(std::move(made->second));
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}

TEST_CASE("a file that gets another name just when it loses its only one is still known by the other") {
    Master m;
    Node* const dir = m.must_make(m.root(), "d", S_IFDIR | 0755).node;
    constexpr int kRounds = 2000;
    int linked = 0;
    for (int round = 0; round < kRounds; ++round) {
        auto file = m.must_create(m.root(), "a");
        std::atomic<int> ready{0};
        SysResult<Found> link = fail(EINVAL);
        std::thread linker([&] {
            ++ready;
            while (ready < 2) {
            }
            link = m.fs->link(file->node, dir, "b");
        });
        ++ready;
        while (ready < 2) {
        }
        const auto unlinked = m.fs->unlink(m.root(), "a");
        linker.join();
        REQUIRE(unlinked);
        if (link) {
            ++linked;
            REQUIRE(link->node == file->node);
            REQUIRE(m.fs->lookup(dir, "b").value().node == file->node);
            REQUIRE(m.fs->rename(dir, "b", dir, "c", 0));  // what is written now has to arrive there
            REQUIRE(m.fs->write(*file, bytes("text"), 0, {}));
        }
        m.fs->close(std::move(file));
    }
    CAPTURE(linked);
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}

TEST_CASE("new objects belong to the caller, with the caller's umask") {
    Master m;
    const Caller who{1234, 4321, 027};
    const auto made = m.fs->make_node(who, m.root(), "d", S_IFDIR | 0777, 0);
    REQUIRE(made);
    CHECK(made->info.uid == 1234);
    CHECK(made->info.gid == 4321);
    CHECK((made->info.mode & 07777) == 0750);
    const auto other = m.must_make(m.root(), "e", S_IFDIR | 0777);
    CHECK(other.info.uid == 0);
    CHECK((other.info.mode & 07777) == 0777);
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}

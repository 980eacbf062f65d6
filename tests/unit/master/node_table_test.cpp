#include "master/node_table.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "tests/support/temp_dir.hpp"

using namespace tdfs;
using tdfs::test::TempDir;

namespace {
struct Table {
    TempDir dir;
    NodeTable nodes{dir.fd(), stat_fd(dir.fd()).value(), 4};

    Node* make_dir(Node* parent, const std::string& name) {
        const auto fd = nodes.directory(parent);
        REQUIRE(fd);
        REQUIRE(::mkdirat((*fd)->get(), name.c_str(), 0755) == 0);
        return nodes.enter(parent, name, stat_at((*fd)->get(), name).value());
    }
    Node* make_file(Node* parent, const std::string& name) {
        const auto fd = nodes.directory(parent);
        REQUIRE(fd);
        REQUIRE(::mknodat((*fd)->get(), name.c_str(), S_IFREG | 0644, 0) == 0);
        return nodes.enter(parent, name, stat_at((*fd)->get(), name).value());
    }
};
}  // namespace

TEST_CASE("paths follow a renamed directory") {
    Table t;
    Node* const a = t.make_dir(t.nodes.root(), "a");
    Node* const b = t.make_dir(a, "b");
    Node* const f = t.make_file(b, "f");
    CHECK(t.nodes.path(f).value() == "a/b/f");
    CHECK(t.nodes.path(t.nodes.root()).value().empty());
    Node* const c = t.make_dir(t.nodes.root(), "c");
    t.nodes.move_link(b->id.ino, a, "b", c, "d");
    CHECK(t.nodes.path(f).value() == "c/d/f");
    CHECK(t.nodes.path(b, "new").value() == "c/d/new");
}

TEST_CASE("an object with several names has a path as long as one of them is left") {
    Table t;
    Node* const f = t.make_file(t.nodes.root(), "one");
    t.nodes.add_link(f, t.nodes.root(), "two");
    t.nodes.remove_link(f->id, t.nodes.root(), "one", false);
    CHECK(t.nodes.path(f).value() == "two");
    t.nodes.remove_link(f->id, t.nodes.root(), "two", true);
    CHECK(t.nodes.path(f).error() == Errno(ENOENT));
    CHECK_FALSE(t.nodes.has_name(f));
}

TEST_CASE("an inode number that is used again belongs to a new node") {
    Table t;
    Node* const old = t.make_file(t.nodes.root(), "f");
    t.nodes.remove_link(old->id, t.nodes.root(), "f", true);
    FileInfo info = stat_at(t.dir.fd(), "f").value();
    Node* const fresh = t.nodes.enter(t.nodes.root(), "g", info);
    CHECK(fresh != old);
    info.object.birth_ns += 1;
    CHECK(t.nodes.enter(t.nodes.root(), "h", info) != fresh);
}

TEST_CASE("an inode number that is used again before its old name is given up keeps its new one") {
    Table t;
    Node* const old = t.make_file(t.nodes.root(), "old");
    const ObjectId gone = old->id;
    FileInfo info = stat_at(t.dir.fd(), "old").value();
    const bool same_tick = GENERATE(false, true);
    if (!same_tick) ++info.object.birth_ns;
    const bool known = GENERATE(true, false);
    if (!known) t.nodes.forget(old, 1);
    Node* const fresh = t.nodes.enter(t.nodes.root(), "new", info);
    t.nodes.remove_link(gone, t.nodes.root(), "old", true);
    CHECK(t.nodes.path(fresh).value() == "new");
    if (known && !same_tick) CHECK_FALSE(t.nodes.has_name(old));
    t.nodes.remove_link(fresh->id, t.nodes.root(), "new", true);
    CHECK_FALSE(t.nodes.has_name(fresh));
}

TEST_CASE("what the kernel has forgotten is dropped, with parents that nobody else needs") {
    Table t;
    Node* const a = t.make_dir(t.nodes.root(), "a");
    Node* const f = t.make_file(a, "f");
    CHECK(t.nodes.size() == 2);
    t.nodes.forget(a, 1);
    CHECK(t.nodes.size() == 2);  // f is in it
    t.nodes.pin(f);
    t.nodes.forget(f, 1);
    CHECK(t.nodes.size() == 2);
    t.nodes.unpin(f);
    CHECK(t.nodes.size() == 0);
}

TEST_CASE("directories deeper than PATH_MAX are reached, and no more descriptors are kept than allowed") {
    Table t;
    Node* at = t.nodes.root();
    const std::string name(200, 'd');
    for (int i = 0; i < 30; ++i) at = t.make_dir(at, name);
    Node* const f = t.make_file(at, "f");
    CHECK(t.nodes.path(f).value().size() > 6000);
    const auto place = t.nodes.place(f);
    REQUIRE(place);
    CHECK(stat_at(place->dir->get(), place->name).value().object == f->id);
}

TEST_CASE("a path that would not fit a record is refused") {
    Table t;
    Node* at = t.nodes.root();
    const std::string name(255, 'd');
    for (int i = 0; i < 128; ++i) at = t.make_dir(at, name);
    CHECK(t.nodes.path(at));
    CHECK(t.nodes.path(at, name).error() == Errno(ENAMETOOLONG));
}

TEST_CASE("a file goes with its directories, also when one of its names stands in a directory above the other's") {
    Table t;
    Node* const a = t.make_dir(t.nodes.root(), "a");
    Node* const b = t.make_dir(a, "b");
    Node* const f = t.make_file(b, "f");
    t.nodes.add_link(f, a, "f");
    CHECK(t.nodes.size() == 3);
    t.nodes.forget(a, 1);
    t.nodes.forget(b, 1);
    CHECK(t.nodes.size() == 3);
    t.nodes.forget(f, 1);
    CHECK(t.nodes.size() == 0);
}

TEST_CASE("a directory that was removed can be reached as long as the kernel knows it, whatever else is used") {
    Table t;
    Node* const gone = t.make_dir(t.nodes.root(), "gone");
    t.nodes.hold_directory(gone->id.ino);
    REQUIRE(::unlinkat(t.dir.fd(), "gone", AT_REMOVEDIR) == 0);
    t.nodes.remove_link(gone->id, t.nodes.root(), "gone", true);
    for (int i = 0; i < 10; i++) {
        Node* const other = t.make_dir(t.nodes.root(), "other" + std::to_string(i));
        CHECK(t.nodes.directory(other));
    }
    const auto place = t.nodes.place(gone);
    REQUIRE(place);
    CHECK(stat_at(place->dir->get(), "").value().object == gone->id);
    t.nodes.forget(gone, 1);
    CHECK(t.nodes.size() == 10);
}

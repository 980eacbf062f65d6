// What a stranger may send: refused, without effect outside the replica.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/os/file.hpp"
#include "tests/unit/resync/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;
namespace fs = std::filesystem;

namespace {

template <class Message>
bool takes(ResyncSink& sink, MessageKind kind, const Message& m) {
    return static_cast<bool>(sink.receive(kind, encode(m)));
}

void ask(ResyncSink& sink) {
    Bytes out;
    while (sink.produce(out)) out.clear();
}

Entry entry(const std::string& name, std::uint32_t mode) {
    Entry e;
    e.name = name;
    e.object = {100, 1};
    e.links = 1;
    e.mode = mode;
    e.uid = ::geteuid();
    e.gid = ::getegid();
    return e;
}

// Gives the root, so that its list is the next answer.
void give_root(ResyncSink& sink) {
    ask(sink);
    StatReply root;
    root.entry = entry("", S_IFDIR | 0755);
    REQUIRE(takes(sink, MessageKind::kStatReply, root));
    ask(sink);
}

}  // namespace

TEST_CASE("answers to no question are refused") {
    const TempDir replica;
    ResyncSink sink(replica.fd(), {});
    CHECK_FALSE(takes(sink, MessageKind::kStatReply, StatReply{}));
    ask(sink);
    CHECK_FALSE(takes(sink, MessageKind::kListPart, ListPart{}));
    CHECK_FALSE(takes(sink, MessageKind::kRangePart, RangePart{}));
    CHECK_FALSE(takes(sink, MessageKind::kRangeEnd, RangeEnd{}));
    CHECK_FALSE(takes(sink, MessageKind::kXattrsReply, XattrsReply{}));
    CHECK_FALSE(takes(sink, MessageKind::kTouched, Touched{}));
    CHECK_FALSE(takes(sink, MessageKind::kList, ListRequest{}));
    CHECK_FALSE(sink.receive(MessageKind::kStatReply, as_bytes("garbage")));
}

TEST_CASE("lists that name the state directory or are out of order are refused") {
    for (const auto& names : std::vector<std::vector<std::string>>{{".tdfs"}, {""}, {"b", "a"}}) {
        const TempDir replica;
        ResyncSink sink(replica.fd(), {});
        give_root(sink);
        bool refused = false;
        for (const auto& name : names) {  // a part each, so that order is checked across parts too
            ListPart part;
            part.entries.push_back(entry(name, S_IFREG | 0644));
            refused = refused || !takes(sink, MessageKind::kListPart, part);
        }
        CHECK(refused);
        CHECK(fs::exists(replica.path() / ".tdfs"));
    }
}

TEST_CASE("touched paths in the state directory are refused") {
    const TempDir replica;
    ResyncSink sink(replica.fd(), {});
    give_root(sink);
    ListPart nothing;
    nothing.last = true;
    REQUIRE(takes(sink, MessageKind::kListPart, nothing));
    ask(sink);
    Touched touched;
    touched.paths.emplace_back();
    touched.paths.back().path = ".tdfs/stage/x";
    CHECK_FALSE(takes(sink, MessageKind::kTouched, touched));
}

TEST_CASE("content outside the range that was asked for is refused") {
    const TempDir replica;
    ResyncSink sink(replica.fd(), {});
    give_root(sink);
    ListPart list;
    list.last = true;
    list.entries.push_back(entry("f", S_IFREG | 0644));
    list.entries.back().size = 10;
    REQUIRE(takes(sink, MessageKind::kListPart, list));
    ask(sink);
    RangePart far;
    far.offset = 1ull << 40;
    far.data.resize(5);
    CHECK_FALSE(takes(sink, MessageKind::kRangePart, far));
}

TEST_CASE("nothing is written through a symlink that the master itself had made") {
    const TempDir replica;
    const TempDir outside;
    ResyncSink sink(replica.fd(), {});
    give_root(sink);
    ListPart list;
    list.last = true;
    list.entries.push_back(entry("out", S_IFLNK | 0777));
    list.entries.back().target = outside.path().string();
    REQUIRE(takes(sink, MessageKind::kListPart, list));
    ask(sink);
    Touched touched;
    touched.paths.emplace_back();
    touched.paths.back().path = "out/escaped";
    REQUIRE(takes(sink, MessageKind::kTouched, touched));
    ask(sink);
    StatReply reply;
    reply.entry = entry("", S_IFREG | 0644);
    REQUIRE(takes(sink, MessageKind::kStatReply, reply));
    ask(sink);
    CHECK(sink.failed() == "");
    CHECK(fs::is_empty(outside.path()));
}

TEST_CASE("a source answers nothing about its state directory, or about another object") {
    Master master;
    fs::create_directory(master.path(".tdfs"));
    std::ofstream(master.path(".tdfs/secret")) << "secret";
    std::ofstream(master.path("f")) << "text";
    ResyncSource source(master.dir.fd(), master.journal.get(), Epoch(7), master.hold, {"test"});
    const auto secret = stat_at(AT_FDCWD, master.path(".tdfs/secret"));
    REQUIRE(secret);
    RangeRequest range;
    range.path = ".tdfs/stage/../secret";
    range.object = secret->object;
    range.blocks = 1;
    CHECK_FALSE(source.receive(MessageKind::kRange, encode(range)));  // not even a path
    range.path = "f";
    range.object = {1, 2};
    REQUIRE(source.receive(MessageKind::kRange, encode(range)));
    REQUIRE(source.receive(MessageKind::kXattrs, encode(XattrsRequest{"f", {1, 2}})));
    Bytes out;
    while (source.produce(out)) {
    }
    auto frame = parse_frame(out);
    REQUIRE(frame);
    CHECK(static_cast<MessageKind>(frame->header.kind) == MessageKind::kRangeEnd);
    CHECK(decode_RangeEnd(frame->payload)->gone);
    frame = parse_frame(ByteView(out).subspan(frame->bytes.size()));
    REQUIRE(frame);
    CHECK(decode_XattrsReply(frame->payload)->gone);
}

TEST_CASE("more questions at once than a sink ever asks are refused") {
    Master master;
    ResyncSource source(master.dir.fd(), master.journal.get(), Epoch(7), master.hold, {"test"});
    std::size_t taken = 0;
    while (taken < 2 * kMaxQuestions && source.receive(MessageKind::kStat, encode(StatRequest{"f"}))) ++taken;
    CHECK(taken == kMaxQuestions);
}

// An inspection between two directories that rest: what it names, what it heals, what it leaves alone.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>

#include "common/os/file.hpp"
#include "common/resync/inspect_desk.hpp"
#include "common/resync/inspect_source.hpp"
#include "proto/frame.hpp"
#include "tests/unit/resync/fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;
namespace fs = std::filesystem;

namespace {

// A replay that stands wherever it is to be met.
class RestingGate : public ReplayGate {
  public:
    void meet(Lsn at, Meeting meeting) override {
        met.push_back(at);
        if (to_miss > 0) {
            --to_miss;
            return meeting.missed();
        }
        if (before_look) before_look();
        meeting.look();
    }
    void watch(const void*) override {}
    Moved take_moved(const void*) override { return std::exchange(moved, {}); }
    void unwatch(const void*) override {}
    [[nodiscard]] std::string stuck() const override { return {}; }
    Result<void, std::string> make_durable() override {
        ++syncs;
        if (!durable.empty()) return Unexpected<std::string>(durable);
        return {};
    }

    std::vector<Lsn> met;
    int to_miss = 0;  // so many meetings come too late
    Moved moved;
    std::function<void()> before_look;
    int syncs = 0;
    std::string durable;  // why it cannot be made so
};

struct Seen : InspectListener {
    void found(std::vector<Finding> findings) override {
        for (auto& f : findings) again += (all[f.path] & f.kinds) != 0 ? 1 : 0;
        for (auto& f : findings) all[f.path] |= f.kinds;
        for (auto& f : findings) healed += f.healed ? 1 : 0;
        for (auto& f : findings) details += f.detail;
    }
    void progress(InspectProgress) override {}
    void done(InspectDone d) override { end = std::move(d); }
    [[nodiscard]] bool cancelled() const override { return false; }

    std::map<std::string, std::uint32_t> all;
    int healed = 0;
    int again = 0;  // what was told of a path before
    std::string details;
    std::optional<InspectDone> end;
};

struct Bench {
    Master master;
    TempDir replica;
    RestingGate gate;
    std::function<bool(const ObjectId&)> unsettled = [](const ObjectId&) { return false; };
    std::uint32_t hold_limit_ms = 1000;

    [[nodiscard]] std::string path(const std::string& name) const { return (replica.path() / name).string(); }
    void copy() const {
        const std::string command = "cp -a '" + master.dir.path().string() + "/.' '" + replica.path().string() + "'";
        REQUIRE(std::system(command.c_str()) == 0);
    }
    std::shared_ptr<Seen> inspect(InspectStart order) {
        order.id = 1;
        InspectSource source({master.dir.fd(), master.journal.get(), master.hold, unsettled, hold_limit_ms});
        InspectDesk desk(replica.fd(), gate);
        auto seen = std::make_shared<Seen>();
        desk.submit(std::move(order), seen);
        for (int turn = 0; !seen->end; ++turn) {
            REQUIRE(turn < 100'000);
            Bytes out;
            desk.produce(out);
            deliver(out, source);
            Bytes answers;
            source.produce(answers);
            deliver(answers, desk);
        }
        CHECK_FALSE(master.hold.held);
        return seen;
    }

  private:
    template <class Side>
    static void deliver(const Bytes& frames, Side& side) {
        for (ByteView rest(frames); !rest.empty();) {
            const auto frame = parse_frame(rest);
            REQUIRE(frame);
            const auto taken = side.receive(static_cast<MessageKind>(frame->header.kind), frame->payload);
            REQUIRE(taken);
            rest = rest.subspan(frame->bytes.size());
        }
    }
};

InspectStart quick() { return {}; }
InspectStart full() {
    InspectStart order;
    order.full = true;
    return order;
}
InspectStart repair() {
    InspectStart order = full();
    order.repair = true;
    return order;
}

}  // namespace

TEST_CASE("what is equal is not looked at twice, and writers are never held for it") {
    Bench bench;
    write_file(bench.master.path("file"), std::string(400'000, 'x'));
    bench.copy();
    const auto seen = bench.inspect(full());
    CHECK(seen->all.empty());
    CHECK(seen->end->error.empty());
    CHECK(seen->end->counts.files == 2);
    CHECK(seen->end->counts.bytes == 400'000);
    CHECK(bench.master.hold.holds == 0);
    CHECK(bench.gate.met.empty());
}

TEST_CASE("what a master could not record is not told as a difference, and not brought to a replica") {
    Bench bench;
    write_file(bench.master.path("file"), "before");
    bench.copy();
    write_file(bench.master.path("file"), "done, and in no record");
    auto reservation = bench.master.journal.get().reserve(100, {});
    REQUIRE(reservation);
    bench.master.journal.get().leave(std::move(*reservation), Errno(EIO));
    const auto seen = bench.inspect(repair());
    CHECK(seen->all.at("file") == difference::kUnreadable);
    CHECK(seen->end->counts.differences == 0);
    CHECK_THAT(seen->details, Catch::Matchers::ContainsSubstring("it is to be restarted"));
    CHECK(fs::file_size(bench.path("file")) == std::string_view("before").size());
}

TEST_CASE("a difference is one only if it is there at the lsn at which both sides were looked at") {
    Bench bench;
    write_file(bench.master.path("file"), "new");
    write_file(bench.path("file"), "old content");
    // The replay reaches the lsn, and with it what the master has.
    bench.gate.before_look = [&] {
        fs::remove(bench.path("file"));
        bench.copy();
    };
    const auto seen = bench.inspect(full());
    CHECK(seen->all.empty());
    CHECK_FALSE(bench.gate.met.empty());
    CHECK(bench.gate.met.front() == bench.master.journal.get().tail());
}

TEST_CASE("a meeting with the replay that comes too late is arranged anew") {
    Bench bench;
    for (const char* name : {"a", "b", "c"}) {
        write_file(bench.master.path(name), "new");
        write_file(bench.path(name), "old content");
    }
    bench.gate.to_miss = 3;
    const auto seen = bench.inspect(repair());
    CHECK(bench.gate.to_miss == 0);
    for (const char* name : {"a", "b", "c"}) CHECK(seen->all.count(name) == 1);  // the root's time may differ too
    CHECK(seen->healed >= 3);
    CHECK(seen->end->error.empty());
    CHECK(bench.inspect(full())->all.empty());
}

TEST_CASE("where one look takes longer than writers are held for at first, they are held for longer") {
    Bench bench;
    write_file(bench.master.path("file"), "new");
    write_file(bench.path("file"), "old content");
    bench.hold_limit_ms = 1;
    bench.unsettled = [](const ObjectId&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        return false;
    };
    const auto seen = bench.inspect(full());
    CHECK(seen->all.count("file") == 1);
    CHECK(seen->end->error.empty());
}

TEST_CASE("a time that is still to be recorded is no difference") {
    Bench bench;
    write_file(bench.master.path("file"), "text");
    bench.copy();
    fs::last_write_time(bench.path("file"), fs::file_time_type::clock::now() - std::chrono::hours(5));
    bench.unsettled = [](const ObjectId&) { return true; };
    CHECK(bench.inspect(quick())->all.empty());
    bench.unsettled = [](const ObjectId&) { return false; };
    CHECK(bench.inspect(quick())->all.at("file") == difference::kMtime);
}

TEST_CASE("a repair makes a mess equal") {
    Bench bench;
    fs::create_directories(bench.master.dir.path() / "a/b/c");
    write_file(bench.master.path("a/b/c/file"), std::string(1'000'000, 'y'));
    write_file(bench.master.path("a/one"), "two names");
    fs::create_hard_link(bench.master.path("a/one"), bench.master.path("a/b/two"));
    fs::create_symlink("somewhere", bench.master.path("a/pointer"));
    write_file(bench.path("a"), "a file where a directory belongs");
    fs::create_directories(bench.replica.path() / "extra/beneath");
    const auto seen = bench.inspect(repair());
    CHECK(seen->details.empty());
    CHECK(seen->end->counts.differences == seen->all.size());
    CHECK(seen->end->counts.healed == seen->all.size());
    CHECK(seen->all.at("a") == difference::kType);
    CHECK(seen->all.at("extra") == difference::kExtra);
    CHECK(seen->again == 0);
    CHECK(differences(bench.master, bench.replica).empty());
    CHECK(bench.inspect(full())->all.empty());
}

TEST_CASE("how an object differs is told once, also where it is looked at several times") {
    Bench bench;
    for (const auto* name : {"overwritten", "longer", "gone"}) write_file(bench.master.path(name), "as it should be");
    fs::create_hard_link(bench.master.path("overwritten"), bench.master.path("link"));
    bench.copy();
    write_file(bench.path("overwritten"), "AS IT SHOULD BE");
    write_file(bench.path("longer"), "as it should not be");
    fs::remove(bench.replica.path() / "gone");
    const bool heal = GENERATE(false, true);
    const auto seen = bench.inspect(heal ? repair() : full());
    CHECK(seen->again == 0);
    CHECK((seen->all.at("overwritten") | seen->all.at("link")) == (difference::kContent | difference::kMtime));
    CHECK((seen->all.at("longer") & difference::kSize) != 0);
    CHECK(seen->all.at("gone") == difference::kMissing);
    CHECK(seen->end->counts.differences == seen->all.size());
}

TEST_CASE("what was repaired is durable before a repair says that it is done") {
    Bench bench;
    write_file(bench.master.path("file"), "text");
    bench.gate.durable = "the disk is broken";
    const auto seen = bench.inspect(repair());
    CHECK(differences(bench.master, bench.replica).empty());
    CHECK(seen->end->error == "what was repaired may be lost: the disk is broken");
    CHECK(bench.gate.syncs == 1);
    CHECK(bench.inspect(full())->end->error.empty());
    CHECK(bench.gate.syncs == 1);
    bench.gate.durable.clear();
    CHECK(bench.inspect(repair())->end->error.empty());
    CHECK(bench.gate.syncs == 2);
}

TEST_CASE("what was renamed from where the walk had not been to where it had been is compared") {
    Bench bench;
    write_file(bench.master.path("moved"), "master");
    bench.copy();
    bench.gate.moved.names = {"moved", "gone"};
    const auto seen = bench.inspect(quick());
    CHECK(seen->all.empty());
    CHECK(seen->end->counts.files == 4);  // the root, the file, and both names once more
}

TEST_CASE("more extended attributes than a message holds are named by an inspection and do not end a resync") {
    Bench bench;
    write_file(bench.master.path("first"), "text");
    write_file(bench.master.path("second"), "text");
    const std::string value(60'000, 'v');
    int set = 0;
    for (int i = 0; i < 20; ++i) {
        const auto name = "user.n" + std::to_string(i);
        set += ::setxattr(bench.master.path("first").c_str(), name.c_str(), value.data(), value.size(), 0) == 0 ? 1 : 0;
    }
    if (set < 20) {
        SUCCEED("this file system does not keep so many extended attributes");
        return;
    }
    const auto outcome = resync(bench.master, bench.replica);
    CHECK(outcome.finished);
    CHECK(outcome.counts.xattrs_left == 1);
    CHECK(fs::exists(bench.path("first")));
    CHECK(fs::exists(bench.path("second")));
    const auto seen = bench.inspect(repair());
    CHECK(seen->all.at("first") == difference::kXattr);
    CHECK(seen->all.count("second") == 0);
    CHECK(seen->healed == 0);
    CHECK_THAT(seen->details, Catch::Matchers::ContainsSubstring("by hand"));
}

TEST_CASE("the state directory is neither listed, nor inspected, nor repaired") {
    Bench bench;
    fs::create_directories(bench.replica.path() / ".tdfs/journal");
    write_file(bench.path(".tdfs/journal/segment"), "mine");
    fs::create_directories(bench.master.dir.path() / ".tdfs");
    fs::last_write_time(bench.path(""), fs::last_write_time(bench.master.path("")));
    CHECK(bench.inspect(repair())->all.empty());
    InspectStart order = repair();
    order.paths = {".tdfs/journal"};
    CHECK_FALSE(bench.inspect(order)->end->error.empty());
    CHECK(fs::exists(bench.path(".tdfs/journal/segment")));
}

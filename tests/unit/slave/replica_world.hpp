// A master that does not change and a slave that comes and goes, without a network between them.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "common/os/file.hpp"
#include "common/resync/source.hpp"
#include "proto/record.hpp"
#include "slave/replica.hpp"
#include "tests/support/tree_compare.hpp"
#include "tests/unit/slave/spool_fixture.hpp"

namespace tdfs::test {

inline const Epoch kEpoch(0x1111);
inline constexpr std::uint64_t kStart = 5000;  // where the master's journal stands

class NoWriters : public WriterHold {
  public:
    explicit NoWriters(Journal& journal) : journal_(journal) {}
    Lsn hold() override { return journal_.tail(); }
    void release() override {}

  private:
    Journal& journal_;
};

// A master that does not change, and a slave's directories; runs of the slave come and go.
struct World {
    // `disk_size`: the replica and its state are on a file system of their own, in a mount namespace of this process.
    explicit World(const std::string& disk_size = {}) {
        if (!disk_size.empty()) {
            small_disk = ::unshare(CLONE_NEWNS) == 0 &&
                         ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                         ::mount("none", root.c_str(), "tmpfs", 0, ("size=" + disk_size).c_str()) == 0;
            root_fd = open_dir(root);
        }
        prepare();
    }
    ~World() {
        kill();
        root_fd.reset();
        if (small_disk) ::umount2(root.c_str(), MNT_DETACH);
    }
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    TempDir dir;
    bool small_disk = false;
    std::string want = dir.dir("want"), root = dir.dir("replica"), master_state = dir.dir("master_state");
    OwnFd want_fd = open_dir(want), root_fd = open_dir(root), master_fd = open_dir(master_state);
    std::unique_ptr<Journal> journal = open_spool(master_fd.get(), Lsn(kStart));
    NoWriters writers{*journal};
    Hello hello;
    ReplicaOptions options;
    std::unique_ptr<StateDir> state;
    std::unique_ptr<Replica> replica;

    void prepare() {
        hello.format = format_hash();
        hello.volume = VolumeId::random();
        hello.history = {{kEpoch, Lsn(kStart)}};
        hello.tail = Lsn(1ull << 40);
        hello.name = "master";
        options.name = "slave";
        options.spool = small_spool();
        options.checkpoints.sync_every_ms = 3'600'000;
        options.checkpoints.checkpoint_every_ms = 3'600'000;
        put(want + "/old", "from before");
        start();
    }
    void start() {
        auto opened = StateDir::open(root_fd.get(), root, "", Role::kSlave);
        if (!opened) FAIL(opened.error());
        state = std::move(*opened);
        auto r = Replica::open(root_fd.get(), *state, options);
        if (!r) FAIL(r.error());
        replica = std::move(*r);
        need(replica->start());
    }
    void kill() {  // as far as the files can tell
        replica.reset();
        state.reset();
    }
    void stop() {
        need(replica->stop());
        kill();
    }
    void change_identity(const std::function<void(Identity&)>& change) {
        auto opened = StateDir::open(root_fd.get(), root, "", Role::kSlave);
        if (!opened) FAIL(opened.error());
        auto identity = (*opened)->identity();
        change(identity);
        need((*opened)->save(identity));
    }

    // As if the machine had gone down since: what is not durable in `applied` is lost too.
    void lose_power(const std::string& boot) {
        kill();
        change_identity([&](Identity& identity) { identity.boot = boot; });
        need(AppliedState::open(open_dir(root + "/.tdfs").get(), boot));
    }

    Welcome welcome() { return need(replica->welcome(hello)); }
    // Carries messages between the two sides until the source is through, or the sink has failed: why.
    std::string exchange(ResyncSource& source, ResyncRequester& sink) {
        for (int turn = 0; turn < 10'000 && !source.finished(); ++turn) {
            Bytes questions, answers;
            sink.produce(questions);
            if (auto why = sink.failed(); !why.empty()) return why;
            deliver(questions, [&](MessageKind kind, ByteView payload) {
                if (kind != MessageKind::kProgress) REQUIRE(source.receive(kind, payload).has_value());
            });
            source.produce(answers);
            deliver(answers,
                    [&](MessageKind kind, ByteView payload) { REQUIRE(sink.receive(kind, payload).has_value()); });
        }
        REQUIRE(source.finished());
        return "";
    }
    void resync(bool full = false) {
        ResyncSource source(want_fd.get(), *journal, kEpoch, writers, {"test", full, {}});
        auto sink = replica->start_resync(hello, {"test", full, journal->tail()});
        REQUIRE(sink != nullptr);
        REQUIRE(exchange(source, *sink) == "");
        const auto at = *source.finished();
        sink.reset();
        need(replica->resume(hello, {at}));
    }
    static void deliver(ByteView frames, const std::function<void(MessageKind, ByteView)>& to) {
        Bytes scratch;
        while (!frames.empty()) {
            const auto frame = parse_frame(frames);
            REQUIRE(frame.has_value());
            REQUIRE(frame->complete());
            const auto payload = raw_payload(*frame, scratch);
            REQUIRE(payload.has_value());
            to(static_cast<MessageKind>(frame->header.kind), *payload);
            frames = frames.subspan(frame->bytes.size());
        }
    }
    void receive(const Record& r) { need(replica->receive(frame_of(r, replica->spool().tail()))); }
    void wait_applied() {
        wait_until([this] { return replica->ack().applied == replica->spool().tail(); });
    }
};

inline bool readable(int fd) {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, 0) == 1;
}

}  // namespace tdfs::test

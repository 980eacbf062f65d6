#include "slave/checkpointer.hpp"

#include <filesystem>

#include "tests/unit/slave/spool_fixture.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

std::size_t segments_in(const std::string& state) {
    std::size_t n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(state + "/journal")) {
        if (entry.path().extension() == ".seg") ++n;
    }
    return n;
}

struct Checkpointed {
    TempDir dir;
    std::string root = dir.dir("replica"), state = dir.dir("state");
    ReplayBench bench{root, state};
    std::atomic<bool> failed{false};

    std::unique_ptr<Checkpointer> checkpointer(CheckpointOptions options) {
        return std::make_unique<Checkpointer>(bench.root_fd(), bench.spool(), bench.state(), options,
                                              [this](const std::string&) { failed = true; });
    }
    void fill() {
        std::mt19937 random(1);  // bytes that do not compress
        bench.receive(file_at("f"));
        for (int i = 0; i < 20; ++i) {
            std::string noise(20'000, '\0');
            for (auto& c : noise) c = static_cast<char>(random());
            bench.receive(write_at("f", noise));
        }
    }
};

constexpr std::uint32_t kNever = 3'600'000;

}  // namespace

TEST_CASE("a checkpoint never lies beyond what the spool has on the disk") {
    Checkpointed w;
    w.fill();
    CheckpointOptions options;
    options.keep_spool_bytes = 1 << 30;
    const auto checkpointer = w.checkpointer(options);
    w.bench.replayer().start();
    wait_until([&] {  // the journal also syncs by itself now and then, perhaps just now
        w.bench.receive(write_at("f", "more"));
        w.bench.wait_applied();
        return w.bench.spool().durable() < w.bench.spool().tail();
    });
    need(checkpointer->checkpoint_now());
    CHECK(w.bench.state().durable_point().lsn <= w.bench.spool().durable());
}

TEST_CASE("the spool is dropped up to the checkpoint, never beyond what is applied") {
    Checkpointed w;
    w.fill();
    const auto before = segments_in(w.state);
    REQUIRE(before > 3);
    CheckpointOptions options;
    options.sync_every_ms = 5;
    options.checkpoint_every_ms = 5;
    const auto checkpointer = w.checkpointer(options);
    need(checkpointer->checkpoint_now());
    CHECK(w.bench.spool().oldest() == Lsn(0));  // nothing is applied
    w.bench.replayer().start();
    w.bench.wait_applied();
    CHECK(w.bench.spool().oldest() == Lsn(0));  // nothing is checkpointed
    checkpointer->start();
    checkpointer->received();
    wait_until([&] { return w.bench.state().durable_point().lsn == w.bench.spool().tail(); });
    wait_until([&] { return segments_in(w.state) < before; });
    checkpointer->stop();
    CHECK(w.bench.spool().oldest() > Lsn(0));
    CHECK_FALSE(w.failed);
}

TEST_CASE("as much of the spool is kept as was asked for") {
    Checkpointed w;
    w.fill();
    CheckpointOptions options;
    options.keep_spool_bytes = 1 << 30;
    const auto checkpointer = w.checkpointer(options);
    w.bench.replayer().start();
    w.bench.wait_applied();
    need(checkpointer->checkpoint_now());
    CHECK(w.bench.state().durable_point().lsn == w.bench.spool().tail());
    CHECK(w.bench.spool().oldest() == Lsn(0));
}

TEST_CASE("enough bytes applied make a checkpoint before its time") {
    Checkpointed w;
    w.fill();
    CheckpointOptions options;
    options.sync_every_ms = 5;
    options.checkpoint_every_ms = kNever;
    options.checkpoint_every_bytes = 100'000;
    const auto checkpointer = w.checkpointer(options);
    w.bench.replayer().start();
    w.bench.wait_applied();
    checkpointer->start();
    checkpointer->received();
    wait_until([&] { return w.bench.state().durable_point().lsn == w.bench.spool().tail(); });
}

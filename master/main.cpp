// tdfs: the master daemon. Builds everything, hands references down, waits, and takes it apart in order.
#include <fcntl.h>
#include <linux/securebits.h>
#include <malloc.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <filesystem>
#include <iostream>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "common/control/control.hpp"
#include "common/control/places.hpp"
#include "common/daemon/daemon.hpp"
#include "common/daemon/guards.hpp"
#include "common/resync/inspect_source.hpp"
#include "common/stream/publisher.hpp"
#include "master/fuse_ring.hpp"
#include "master/mount.hpp"
#include "master/options.hpp"
#include "master/responder.hpp"
#include "master/retention.hpp"
#include "master/service.hpp"
#include "master/settle_restart.hpp"
#include "master/volume.hpp"

namespace tdfs {
namespace {

constexpr int kFailed = 1;
constexpr int kRefused = 3;
constexpr std::size_t kTrimNodes = 50'000;  // 8 MB of them

int complain(const std::string& text, int status) {
    std::cerr << "tdfs: " << text << "\n";
    return status;
}

// Inspections of one slave, as its session drives them.
class InspectSide : public InspectResponder {
  public:
    explicit InspectSide(InspectSourceParts parts) : source_(std::move(parts)) {}
    Result<void, DecodeError> receive(MessageKind kind, ByteView payload) override {
        return source_.receive(kind, payload);
    }
    bool produce(Bytes& out) override { return source_.produce(out); }

  private:
    InspectSource source_;
};

// Whether the object's modification time is still to be recorded.
bool is_unsettled(NodeTable& nodes, const ObjectId& object) {
    Node* const node = nodes.find_pinned(object.ino);
    if (node == nullptr) return false;
    const bool unsettled = node->id == object && node->touched_ns.load(std::memory_order_relaxed) != 0;
    nodes.unpin(node);
    return unsettled;
}

// Objects are created with the caller's ids but with our capabilities: the kernel has already checked the caller.
Result<void, std::string> prepare_process() {
    ::umask(0);
    if (::geteuid() != 0) return Unexpected<std::string>("must be run as root: it creates files for every user");
    if (::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) != 0) {
        return Unexpected<std::string>("cannot keep its capabilities (CAP_SETPCAP is missing): " +
                                       Errno::last().text());
    }
    return check_system();
}

// How many queues requests come by over io_uring; 0: none is wanted. The error says why it can't be had.
Result<unsigned, std::string> choose_rings(const MasterOptions& options) {
    if (!options.io_uring.value_or(options.allows_io_uring())) return 0u;
    return ring_queues();
}

std::string host_name() {
    char name[HOST_NAME_MAX + 1] = {};
    return ::gethostname(name, sizeof name - 1) == 0 ? name : "master";
}

int run(const MasterOptions& options) {
    block_signals();
    // The background's working directory is another one; the log may be opened again there.
    const std::string log_file = options.log_file.empty() ? "" : std::filesystem::absolute(options.log_file).string();
    Background background(options.foreground);
    if (auto ok = start_logging("tdfs", options.foreground, log_file, options.log_level); !ok) {
        return complain(ok.error(), kFailed);
    }
    if (auto ok = prepare_process(); !ok) return complain(ok.error(), kFailed);
    const auto rings = choose_rings(options);
    if (!rings && options.io_uring) return complain("--io-uring on: " + rings.error(), kFailed);
    const std::size_t descriptors = raise_open_file_limit();

    auto opened = Volume::open(options);
    if (!opened) return complain(opened.error(), kRefused);
    Volume& volume = **opened;
    Journal& journal = volume.journal();

    const auto root_info = stat_fd(volume.root());
    if (!root_info) return complain(volume.directory() + ": " + root_info.error().text(), kFailed);
    Locks locks;
    NodeTable nodes(volume.root(), *root_info, descriptors / 8);
    Mutator mutator(journal, options.compress);
    Settler settler(locks, nodes, mutator, journal);
    if (auto ok = settler.open(volume.state().fd(), journal.tail(), journal.oldest()); !ok) {
        return complain("state of " + volume.directory() + ": " + ok.error().text(), kFailed);
    }
    const bool left_unsettled = volume.was_killed() || settler.settled_lsn() < journal.tail();
    // A sync point: what stands before it and after it is never applied at once (see Wave), for an object may have another number now.
    // A full disk does not keep the mount away, by which somebody could make room.
    if (volume.is_another_boot()) {
        if (const auto noted = mutator.note(SyncRecord{}); !noted) {
            spdlog::warn("journal: the reboot could not be noted: {}", noted.error().text());
        }
    }
    if (left_unsettled) {
        const auto settled = settle_at_restart(volume.root(), journal, mutator, settler.settled_lsn());
        if (!settled) return complain(settled.error().text, kFailed);
        if (*settled) {
            spdlog::info("restart tail={} settled={}", journal.tail().bytes(), **settled);
        } else if (auto ok = volume.begin_epoch("the journal is damaged where the last run ended"); !ok) {
            return complain(ok.error(), kFailed);
        }
    }
    settler.set_settled_lsn(journal.tail());
    if (const auto losses = settler.root_losses())
        settler.root_noted(*losses);  // opening the volume has noted its content

    FileSystem file_system(volume.root(), locks, nodes, mutator, settler, journal);
    SyncGate gate(options.sync);
    FuseMount mount(file_system, nodes.root(), gate);
    mount.features().writeback = options.writeback_ms != 0;
    if (auto ok = mount.mount(volume.mountpoint(), volume.directory(), options.fuse_debug && options.foreground); !ok) {
        return complain(ok.error(), kFailed);
    }

    if (!rings) spdlog::info("requests come over /dev/fuse, not io_uring: {}", rings.error());

    TreeHold hold(locks, journal);
    PublisherOptions publisher_options;
    publisher_options.targets = options.slaves;
    publisher_options.nodelay = options.nodelay;
    publisher_options.gather = !options.sync.on();  // an fsync that waits for slaves waits for nothing else
    publisher_options.name = host_name() + ":" + volume.directory();
    publisher_options.moved = [&gate] { gate.moved(); };
    const Identity identity = volume.state().identity();  // a copy: the housekeeper changes the original
    Publisher publisher(
        journal, {identity.volume, identity.history}, publisher_options,
        [&](const ResyncScope& scope) {
            return std::make_unique<Responder>(volume.root(), volume.epoch(), journal, hold, scope);
        },
        [&] {
            return std::make_unique<InspectSide>(
                InspectSourceParts{volume.root(), journal, hold,
                                   [&nodes](const ObjectId& object) { return is_unsettled(nodes, object); }});
        });

    RetentionLimits limits;
    limits.retain_bytes = options.retain_bytes;
    limits.retain_age = std::chrono::seconds(options.retain_age);
    limits.reserve_bytes = volume.reserve_bytes();
    Retention retention(journal, publisher, volume.state().fd(), !options.slaves.empty(), limits,
                        [&settler] { return settler.settled_lsn(); });
    mutator.on_full([&retention, &settler] {
        settler.forget_settled();
        return retention.give_up_oldest();
    });

    Scrub scrub(publisher, {options.scrub_rate, options.scrub_repair});
    OwnFd stop_requested(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    WriteOut write_out(std::chrono::milliseconds(options.writeback_ms), file_system);
    Service service({options, volume, identity.volume, volume.epoch(), journal, nodes, mutator, settler, mount,
                     publisher, gate, retention, scrub, write_out, stop_requested.get()});
    std::vector<ControlServer::Place> places{{volume.state().fd(), "control"}};
    OwnFd run_directory;
    if (volume.mount_covers_directory()) {
        auto fd = open_run_directory();
        if (!fd) return complain(fd.error(), kFailed);
        run_directory = std::move(*fd);
        places.push_back({run_directory.get(), run_socket_name(volume.directory())});
    }
    auto control = ControlServer::listen(places, [&](const ControlRequest& r) { return service.answer(r); });
    if (!control) return complain(control.error(), kFailed);

    settler.start();
    gate.start([&] { return publisher.confirmed_by(options.sync.slaves, options.sync.level); });
    publisher.start();
    scrub.start();
    mount.start({options.stay_awake.value_or(StayAwake::worth_it()), rings ? *rings : 0});
    Result<void, std::string> pushing;
    if (options.writeback_ms != 0) pushing = write_out.start(volume.mountpoint());
    if (!pushing) spdlog::error("writeback error=\"{}\"", pushing.error());
    {
        std::size_t most_nodes = 0;  // the housekeeper's
        Housekeeper housekeeper([&] {
            retention.tend();
            const auto losses = settler.root_losses();
            if (file_system.root_changed()) {
                volume.note_content();
                if (losses) settler.root_noted(*losses);
            }
            // What the kernel has forgotten by the thousand is the machine's again.
            most_nodes = std::max(most_nodes, nodes.size());
            if (nodes.size() + kTrimNodes < most_nodes) {
                malloc_trim(0);
                most_nodes = nodes.size();
            }
        });
        spdlog::info("ready volume={} directory=\"{}\" mount=\"{}\" position={}", identity.volume.text(),
                     volume.directory(), volume.mountpoint(), to_text(Position{volume.epoch(), journal.tail()}));
        if (pushing) {
            background.ready();
            service.wait_until_stopped(mount.ended_fd());
        }
        spdlog::info("stopping position={}", to_text(Position{volume.epoch(), journal.tail()}));
        gate.stop();  // nobody waits in the mount any more
        write_out.stop();
        mount.stop();
        settler.settle_all();
    }
    settler.stop();
    scrub.stop();
    publisher.wait({}, journal.tail(), Publisher::Level::kReceived, std::chrono::milliseconds(500));
    publisher.stop();
    (*control)->stop();
    if (auto closed = volume.close(); !closed) return complain(closed.error(), kFailed);
    if (!pushing) return complain(pushing.error(), kFailed);
    spdlog::info("stopped");
    return 0;
}

}  // namespace
}  // namespace tdfs

int main(int argc, char** argv) {
    const auto parsed = tdfs::parse_master_options(argc, argv);
    if (const auto* advice = std::get_if<tdfs::Advice>(&parsed)) {
        (advice->exit_status == 0 ? std::cout : std::cerr) << advice->text << (advice->exit_status == 0 ? "" : "\n");
        return advice->exit_status;
    }
    try {
        return tdfs::run(std::get<tdfs::MasterOptions>(parsed));
    } catch (const std::exception& e) {
        return tdfs::complain(e.what(), 1);
    }
}

#include "master/mount.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>

#include <spdlog/spdlog.h>

#include "common/daemon/mounts.hpp"
#include "master/fuse_channel.hpp"
#include "master/fuse_ops.hpp"
#include "master/fuse_ring.hpp"

namespace tdfs {

namespace {
// Commas and backslashes mean something in mount options.
std::string escape_option(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == ',' || c == '\\') out += '\\';
        out += c;
    }
    return out;
}

constexpr int kReadAheadKiB = 1024;  // one request of the largest size

// The kernel's default, 128 KiB, is also what it offers when the session begins, so that it can be raised only afterwards.
// Reads are slower without, nothing else.
//
// The mount itself is not asked for its device, here as anywhere in this process: killed while it waits for an answer of its own, a
// thread would keep the connection open on which the answer will never come, and the process could not end.
void raise_read_ahead(const std::string& mountpoint) {
    const OwnFd root(::open(mountpoint.c_str(), O_PATH | O_CLOEXEC));  // asks for nothing
    const auto mount = root ? mount_of(root.get()) : std::nullopt;
    if (!mount || mount->type != kTdfsType) return;  // unmounted already: that is somebody else's device
    const std::string path = "/sys/class/bdi/" + mount->device + "/read_ahead_kb";
    const std::string value = std::to_string(kReadAheadKiB);
    const OwnFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd || ::write(fd.get(), value.data(), value.size()) < 0) {
        spdlog::info("read-ahead stays as it is, file=\"{}\" error=\"{}\"", path, std::strerror(errno));
    }
}

// Two keep each other hot; one alone has a queue behind each request that takes longer. Measured on two cores only.
constexpr unsigned kFewest = 16;  // of a queue may wait at once
unsigned hot_threads() { return std::clamp(std::thread::hardware_concurrency() / 2, 2u, 8u); }
}  // namespace

std::string fuse_library_version() { return fuse_pkgversion(); }

FuseMount::FuseMount(FileSystem& fs, Node* root, SyncGate& gate)
    : fs_(fs), root_(root), gate_(gate), ended_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    TDFS_INVARIANT(static_cast<bool>(ended_), "an eventfd can be made");
}

FuseMount::~FuseMount() { stop(); }

Result<void, std::string> FuseMount::mount(const std::string& mountpoint, const std::string& source, bool debug) {
    const std::string options =
        "default_permissions,allow_other,dev,suid,subtype=tdfs,fsname=" + escape_option("tdfs:" + source);
    std::string arg_option = options;
    std::string program = "tdfs";
    std::string dash_o = "-o";
    std::string dash_d = "-d";
    std::array<char*, 4> argv{program.data(), dash_o.data(), arg_option.data(), dash_d.data()};
    fuse_args args = FUSE_ARGS_INIT(debug ? 4 : 3, argv.data());
    const fuse_lowlevel_ops& operations = fuse_operations();
    session_ = fuse_session_new(&args, &operations, sizeof operations, this);
    fuse_opt_free_args(&args);
    if (session_ == nullptr) return Unexpected<std::string>("FUSE refuses its options: " + options);
    if (fuse_session_mount(session_, mountpoint.c_str()) != 0) {
        const std::string why = errno != 0 ? std::strerror(errno) : "see above";
        fuse_session_destroy(session_);
        session_ = nullptr;
        return Unexpected<std::string>("cannot mount on " + mountpoint + ": " + why +
                                       " (needs root, /dev/fuse, and an existing directory)");
    }
    mounted_ = true;
    mountpoint_ = mountpoint;
    own_channels_ = route_answers(session_);
    if (!own_channels_) spdlog::info("this libfuse has no custom I/O: threads share one /dev/fuse to the kernel");
    return {};
}

void FuseMount::say_ended() {
    const std::uint64_t one = 1;
    if (::write(ended_.get(), &one, sizeof one) < 0) spdlog::error("mount error=\"{}\"", std::strerror(errno));
}

// The first request is what the session is agreed with; it waits since the mount was made. False: unmounted meanwhile.
bool FuseMount::begin_session() {
    FuseChannel first(session_, FuseChannel::Kind::kShared);
    Hand::Taken taken = first.take();
    while (taken == Hand::Taken::kInterrupted) taken = first.take();
    if (taken == Hand::Taken::kEnd) return false;
    RingOffer offer(fuse_session_fd(session_), features_.io_uring);
    const AnswerThrough here(&offer);
    first.serve();
    return true;
}

// One for each queue, before the kernel is told that they will come: it waits for all of them.
void FuseMount::make_rings(unsigned queues) {
    const auto give_up = [this](Errno why) {
        spdlog::warn("requests come over /dev/fuse: not enough rings: {}", why.text());
        rings_.clear();
    };
    for (unsigned queue = 0; queue < queues; ++queue) {
        OwnFd device(::fcntl(fuse_session_fd(session_), F_DUPFD_CLOEXEC, 0));
        if (!device) return give_up(Errno::last());
        queues_.emplace_back(queue, std::move(device));
        auto made = FuseRing::make(session_, queues_.back());
        if (!made) return give_up(made.error());
        rings_.push_back(std::move(*made));
    }
}

void FuseMount::add_crew(Crew::Limits limits, Crew::MakeHand make_hand) {
    Crew::Looked looked;
    if (features_.stay_awake) {
        stay_awake_.push_back(std::make_unique<StayAwake>());
        looked = [&awake = *stay_awake_.back()](std::uint64_t requests) { awake.saw(requests); };
    }
    crews_.push_back(std::make_unique<Crew>(
        limits, std::move(make_hand), [this] { say_ended(); }, std::move(looked)));
    crews_.back()->start();
}

void FuseMount::start(Requests how) {
    features_.stay_awake = how.stay_awake;
    if (own_channels_) make_rings(how.ring_queues);
    features_.io_uring = !rings_.empty();
    if (!begin_session()) return say_ended();
    if (features_.io_uring) {
        // Each queue's thread answers on the core where it is asked; another one, wherever it waits.
        Crew::Limits limits;
        limits.hot = 1;
        limits.most = std::max(limits.most / how.ring_queues, kFewest);
        for (unsigned queue = 0; queue < how.ring_queues; ++queue) {
            add_crew(limits, [this, queue]() -> std::unique_ptr<Hand> {
                if (rings_[queue]) return std::move(rings_[queue]);
                auto made = FuseRing::make(session_, queues_[queue]);
                if (made) return std::move(*made);
                spdlog::warn("no further ring for requests: {}", made.error().text());
                return nullptr;
            });
        }
    }
    // Over io_uring what is forgotten still comes this way.
    Crew::Limits limits;
    limits.hot = hot_threads();
    const auto kind = own_channels_ ? FuseChannel::Kind::kOwn : FuseChannel::Kind::kShared;
    add_crew(limits, [this, kind] { return std::make_unique<FuseChannel>(session_, kind); });
    raise_read_ahead(mountpoint_);
}

void FuseMount::stop() {
    if (session_ == nullptr) return;
    if (mounted_) {
        fuse_session_unmount(session_);
        mounted_ = false;
    }
    crews_.clear();
    rings_.clear();
    queues_.clear();
    stay_awake_.clear();
    fuse_session_destroy(session_);
    session_ = nullptr;
}

}  // namespace tdfs

#include "master/mount.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

#include <spdlog/spdlog.h>

#include "master/fuse_ops.hpp"

namespace tdfs {

namespace {
// Wakes the thread that waits in libfuse's loop, whose wait ends on any signal.
constexpr int kWakeSignal = SIGUSR2;
void on_wake(int) {}

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
// Asking for the mount's device waits for that: it is a request like others. Reads are slower without, nothing else.
void raise_read_ahead(const std::string& mountpoint) {
    const OwnFd root(::open(mountpoint.c_str(), O_PATH | O_CLOEXEC));
    struct statx info {};
    struct statfs kind {};
    if (!root || ::statx(root.get(), "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &info) != 0 ||
        ::fstatfs(root.get(), &kind) != 0) {
        spdlog::warn("read-ahead mount=\"{}\" error=\"{}\"", mountpoint, std::strerror(errno));
        return;
    }
    if (kind.f_type != FUSE_SUPER_MAGIC) return;  // unmounted already: that is somebody else's device
    const std::string path = "/sys/class/bdi/" + std::to_string(info.stx_dev_major) + ":" +
                             std::to_string(info.stx_dev_minor) + "/read_ahead_kb";
    const std::string value = std::to_string(kReadAheadKiB);
    const OwnFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd || ::write(fd.get(), value.data(), value.size()) < 0) {
        spdlog::info("read-ahead stays as it is, file=\"{}\" error=\"{}\"", path, std::strerror(errno));
    }
}
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
    return {};
}

void FuseMount::start() {
    struct sigaction action {};
    action.sa_handler = on_wake;
    ::sigaction(kWakeSignal, &action, nullptr);
    loop_ = std::thread([this] {
        fuse_loop_config* const config = fuse_loop_cfg_create();
        fuse_loop_cfg_set_clone_fd(config, 1);
        fuse_loop_cfg_set_max_threads(config, 32);
        fuse_loop_cfg_set_idle_threads(config, 16);
        const int result = fuse_session_loop_mt(session_, config);
        fuse_loop_cfg_destroy(config);
        if (result < 0) spdlog::error("mount error=\"{}\"", std::strerror(-result));
        const std::uint64_t one = 1;
        if (::write(ended_.get(), &one, sizeof one) < 0) spdlog::error("mount error=\"{}\"", std::strerror(errno));
    });
    raise_read_ahead(mountpoint_);
}

void FuseMount::stop() {
    if (session_ == nullptr) return;
    if (mounted_) {
        fuse_session_exit(session_);
        fuse_session_unmount(session_);
        mounted_ = false;
    }
    while (loop_.joinable()) {
        // The loop notices the end when a request arrives or a signal does; a signal between its look and its wait is lost, so
        // until it is gone it gets another.
        ::pthread_kill(loop_.native_handle(), kWakeSignal);
        std::uint64_t ended = 0;
        if (::read(ended_.get(), &ended, sizeof ended) > 0) {
            loop_.join();
        } else {
            ::usleep(1000);
        }
    }
    fuse_session_destroy(session_);
    session_ = nullptr;
}

}  // namespace tdfs

// tdfs_slave: the slave daemon. Builds everything, hands references down, waits, and takes it apart in order.
//
// Order of the start: command line; fork; log; checks that change nothing; the state directory and its lock; replica
// and spool; the port; control socket; replay; ready. The exit statuses are documented in README.md.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <filesystem>
#include <iostream>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "common/control/control.hpp"
#include "common/daemon/daemon.hpp"
#include "common/daemon/guards.hpp"
#include "common/daemon/state_dir.hpp"
#include "common/os/file.hpp"
#include "common/stream/subscriber.hpp"
#include "common/stream/tcp.hpp"
#include "slave/options.hpp"
#include "slave/replica.hpp"
#include "slave/service.hpp"
#include "tdfs_config.hpp"

namespace tdfs {
namespace {

constexpr int kFailed = 1;
constexpr int kRefused = 3;

int complain(const std::string& text, int status) {
    std::cerr << "tdfs_slave: " << text << std::endl;
    return status;
}

std::string host_name() {
    std::array<char, HOST_NAME_MAX + 1> name{};
    return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

std::string absolute(const std::string& path) { return path.empty() ? "" : std::filesystem::absolute(path).string(); }

Result<void, std::string> check_content(int dir, const SlaveOptions& options) {
    if (options.adopt) return {};
    const auto empty = is_directory_empty(dir, options.directory);
    if (!empty) return Unexpected(empty.error());
    if (*empty) return {};
    return Unexpected(options.directory +
                      " is not empty and belongs to no volume; give --adopt to let it be made equal to the master");
}

bool has_marker(int dir) {
    const auto state = open_at(dir, std::string(kStateName), O_PATH | O_DIRECTORY);
    return state && stat_at(state->get(), "volume").has_value();
}

// Everything that is refused before a byte is written.
Result<OwnFd, std::string> open_place(const SlaveOptions& options) {
    if (auto ok = check_system(); !ok) return Unexpected(ok.error());
    auto dir = open_directory(options.directory);
    if (!dir) return dir;
    if (auto ok = check_place(dir->get(), options.directory); !ok) return Unexpected(ok.error());
    if (!options.state_dir.empty()) {
        const auto inside = is_strictly_beneath(options.state_dir, options.directory);
        if (!inside) return Unexpected(inside.error());
        if (*inside)
            return Unexpected("--state-dir " + options.state_dir + " lies inside " + options.directory +
                              ": leave it away (the state is then in .tdfs), or put it elsewhere");
    }
    if (!has_marker(dir->get())) {
        if (auto ok = check_content(dir->get(), options); !ok) return Unexpected(ok.error());
    }
    return dir;
}

ReplicaOptions replica_options(const SlaveOptions& options) {
    ReplicaOptions r;
    r.name = host_name() + ":" + options.directory;
    r.spool_limit_bytes = options.spool_limit_bytes;
    r.spool.segment_bytes = options.segment_bytes;
    r.delete_limit = options.delete_limit;
    r.tolerate = options.tolerate;
    r.apply_workers = options.apply_workers;
    r.heal = true;
    r.keep = options.divergent;
    r.checkpoints.keep_spool_bytes = options.keep_spool_bytes;
    return r;
}

int serve(const SlaveOptions& options, Background& background, StateDir& state, Replica& replica, TcpListener port) {
    SubscriberOptions listen;
    listen.address = options.address;
    listen.port = options.port;
    listen.nodelay = options.nodelay;
    const auto subscriber = Subscriber::on(std::move(port), listen, replica);
    const std::string shown =
        (options.address.find(':') == std::string::npos ? options.address : "[" + options.address + "]") + ":" +
        std::to_string(subscriber->bound_port());

    const OwnFd stop(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!stop) return complain("no event descriptor: " + Errno::last().text(), kFailed);
    SlaveService service(replica, *subscriber, options.directory, shown, [&stop] {
        const std::uint64_t one = 1;
        static_cast<void>(!::write(stop.get(), &one, sizeof one));  // full: main has been asked before
    });
    auto control = ControlServer::listen({{state.fd(), kControlSocketName}},
                                         [&service](const ControlRequest& request) { return service.answer(request); });
    if (!control) return complain(control.error(), kFailed);
    if (auto ok = replica.start(); !ok) return complain(ok.error(), kFailed);
    subscriber->start();
    background.ready();
    spdlog::info("ready version={} directory={} listen={} state={}", TDFS_VERSION, options.directory, shown,
                 to_text(replica.status().state));

    const bool by_signal = wait_for_signal_or(stop.get());
    spdlog::info("stopping because={}", by_signal ? "signal" : "tdfsctl");
    subscriber->stop();
    return 0;
}

int run(SlaveOptions options) {
    options.state_dir = absolute(options.state_dir);
    options.log_file = absolute(options.log_file);
    const std::string typed = options.directory;
    options.directory = absolute(options.directory);
    block_signals();
    Background background(options.foreground);
    if (auto ok = start_logging("tdfs_slave", options.foreground, options.log_file, options.log_level); !ok) {
        return complain(ok.error(), kFailed);
    }
    const auto dir = open_place(options);
    if (!dir) return complain(dir.error(), kRefused);
    if (const auto canonical = canonical_path(typed)) options.directory = *canonical;
    raise_open_file_limit();

    auto port = tcp_listen(options.address, options.port);
    if (!port) return complain(port.error(), kFailed);
    auto state = StateDir::open(dir->get(), options.directory, options.state_dir, Role::kSlave);
    if (!state) return complain(state.error(), kRefused);
    if (!(*state)->identity().volume.valid()) {
        if (auto ok = check_content(dir->get(), options); !ok) return complain(ok.error(), kRefused);
    }
    auto replica = Replica::open(dir->get(), **state, replica_options(options));
    if (!replica) return complain(replica.error(), kFailed);

    const int status = serve(options, background, **state, **replica, std::move(*port));
    if (auto ok = (*replica)->stop(); !ok) {
        spdlog::error("stop: {}", ok.error());
        return kFailed;
    }
    if (status == 0) spdlog::info("stopped");  // else the one line has been said
    return status;
}

}  // namespace
}  // namespace tdfs

int main(int argc, char** argv) {
    const auto parsed = tdfs::parse_slave_options(argc, argv);
    if (const auto* advice = std::get_if<tdfs::Advice>(&parsed)) {
        auto& out = advice->exit_status == 0 ? std::cout : std::cerr;
        out << advice->text << (advice->exit_status == 0 ? "" : "\n") << std::flush;
        return advice->exit_status;
    }
    try {
        return tdfs::run(std::get<tdfs::SlaveOptions>(parsed));
    } catch (const std::exception& e) {  // memory, threads: the system gives no more
        std::cerr << "tdfs_slave: " << e.what() << std::endl;
        return 1;
    }
}

// One thread accepts, one thread per client reads a line, calls the handler and writes its answer. A client's
// descriptor stays open until its thread was joined, so that stop() may always shut it down.
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "common/control/control.hpp"
#include "common/control/lines.hpp"
#include "common/os/file.hpp"
#include "common/os/retry.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

using nlohmann::json;

constexpr int kPauseMs = 100;  // after accept failed for want of descriptors or memory
constexpr std::chrono::seconds kLastAnswers{1};

Unexpected<std::string> refuse(const std::string& shown, const std::string& why) {
    return Unexpected<std::string>("cannot listen on the control socket " + shown + ": " + why);
}

json error_answer(const std::string& text) { return {{"error", text}, {"code", 1}}; }

void raise_event(int fd) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(fd, &one, sizeof one);  // fails only when it is raised already
}

void clear_event(int fd) {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto n = ::read(fd, &count, sizeof count);  // fails only when it is clear already
}

std::string shown_name(int dir, const std::string& name) {
    const auto path = read_link_at(AT_FDCWD, proc_fd_path(dir));
    return printable(path ? join(*path, name) : name);
}

// Makes room for a socket where an earlier process left one.
Result<void, std::string> clear_place(int dir, const std::string& name, const std::string& shown) {
    const auto info = stat_at(dir, name);
    if (!info && info.error().value() == ENOENT) return {};
    if (!info) return refuse(shown, info.error().text());
    if (!S_ISSOCK(info->mode)) return refuse(shown, "a file that is no socket stands there: move it away");
    const auto peer = connect_to(dir, name);
    if (peer) return refuse(shown, "another process listens there");
    if (peer.error().value() != ECONNREFUSED) return refuse(shown, peer.error().text());
    if (::unlinkat(dir, name.c_str(), 0) != 0 && errno != ENOENT) return refuse(shown, Errno::last().text());
    return {};
}

Result<OwnFd, std::string> listen_on(int dir, const std::string& name) {
    const auto shown = shown_name(dir, name);
    if (auto clear = clear_place(dir, name, shown); !clear) return Unexpected<std::string>(clear.error());
    const auto address = socket_address(dir, name);
    if (!address) return refuse(shown, address.error().text());
    OwnFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return refuse(shown, Errno::last().text());
    // On the socket before it has a name: bind gives the file this mode, and there is no moment with a wider one.
    if (::fchmod(fd.get(), 0600) != 0) return refuse(shown, Errno::last().text());
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0 ||
        ::listen(fd.get(), static_cast<int>(kMaxControlClients)) != 0) {
        return refuse(shown, Errno::last().text());
    }
    return fd;
}

}  // namespace

class ControlServer::Impl {
  public:
    explicit Impl(ControlHandler handler)
        : handler_(std::move(handler)), stop_event_(new_event()), wake_event_(new_event()) {}
    ~Impl() { stop(); }

    Result<void, std::string> start(const std::vector<Place>& places) {
        if (!stop_event_ || !wake_event_) return refuse("", Errno(EMFILE).text());
        for (const auto& place : places) {
            OwnFd dir(::fcntl(place.dir, F_DUPFD_CLOEXEC, 0));  // stop() removes the socket there, whenever that is
            if (!dir) return refuse(place.name, Errno::last().text());
            auto listener = listen_on(place.dir, place.name);
            if (!listener) return Unexpected<std::string>(listener.error());
            listeners_.push_back({std::move(*listener), std::move(dir), place.name});
        }
        acceptor_ = std::thread([this] { accept_clients(); });
        return {};
    }

    void stop() {
        std::call_once(stopped_, [this] {
            stopping_ = true;
            raise_event(stop_event_.get());
            if (acceptor_.joinable()) acceptor_.join();
            // Whoever is being answered (who has asked for this stop, perhaps) gets his answer, if he takes it soon.
            for (auto& client : clients_) ::shutdown(client.fd.get(), SHUT_RD);
            const auto deadline = std::chrono::steady_clock::now() + kLastAnswers;
            while (std::any_of(clients_.begin(), clients_.end(), [](const Client& client) { return !client.done; }) &&
                   std::chrono::steady_clock::now() < deadline) {
                pollfd ended{wake_event_.get(), POLLIN, 0};
                ::poll(&ended, 1, kPauseMs);
                clear_event(wake_event_.get());
            }
            for (auto& client : clients_) ::shutdown(client.fd.get(), SHUT_RDWR);
            for (auto& client : clients_) client.thread.join();
            clients_.clear();
            for (const auto& listener : listeners_) {
                if (::unlinkat(listener.dir.get(), listener.name.c_str(), 0) != 0 && errno != ENOENT) {
                    spdlog::warn("control socket not removed: name={} error={}", listener.name, Errno::last().text());
                }
            }
            listeners_.clear();
        });
    }

  private:
    struct Listener {
        OwnFd fd;
        OwnFd dir;
        std::string name;
    };
    struct Client {
        OwnFd fd;
        std::atomic<bool> done = false;
        std::thread thread;
    };

    static OwnFd new_event() { return OwnFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

    void accept_clients() {
        std::vector<pollfd> watched{{stop_event_.get(), POLLIN, 0}, {wake_event_.get(), POLLIN, 0}};
        for (const auto& listener : listeners_) watched.push_back({listener.fd.get(), POLLIN, 0});
        while (!stopping_) {
            if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) {
                spdlog::error("control socket: poll: {}", Errno::last().text());
                return;
            }
            clear_event(wake_event_.get());
            clients_.remove_if([](Client& client) {
                if (!client.done) return false;
                client.thread.join();
                return true;
            });
            for (const auto& listener : listeners_) accept_from(listener.fd.get());
        }
    }

    void accept_from(int listener) {
        OwnFd fd(retry_interrupted([&] { return ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); }));
        if (!fd) {
            if (errno == EAGAIN || errno == ECONNABORTED) return;
            spdlog::warn("control socket: accept: {}", Errno::last().text());
            pollfd stop{stop_event_.get(), POLLIN, 0};  // what is missing will not be there at once
            ::poll(&stop, 1, kPauseMs);
            return;
        }
        if (clients_.size() >= kMaxControlClients) {
            turn_away(fd.get(), "too many control clients at once: try again later");
            return;
        }
        auto& client = clients_.emplace_back();
        client.fd = std::move(fd);
        try {
            client.thread = std::thread([this, &client] { serve(client); });
        } catch (const std::system_error& e) {
            turn_away(client.fd.get(), e.what());
            clients_.pop_back();
        }
    }

    // The answer waits in the client's socket for it to read.
    static void turn_away(int fd, const std::string& why) {
        if (!send_line(fd, error_answer(why))) spdlog::debug("control client turned away and gone: {}", why);
    }

    void serve(Client& client) {
        const int fd = client.fd.get();
        LineReader reader(fd, kMaxControlLineBytes);
        for (bool going_on = true; going_on && !stopping_;) {
            const auto line = reader.next(stop_event_.get());
            if (!line && line.error().value() == EMSGSIZE) turn_away(fd, "a line longer than 1 MiB");
            if (!line || !*line) break;
            going_on = send_line(fd, answer(fd, **line)).has_value();
        }
        ::shutdown(fd, SHUT_RDWR);  // the client learns at once that this is the end; the descriptor is closed later
        client.done = true;
        raise_event(wake_event_.get());
    }

    json answer(int fd, const std::string& line) {
        const auto command = json::parse(line, nullptr, false);
        if (!command.is_object()) return error_answer("a line that is no JSON object");
        const auto name = command.find("cmd");
        if (name == command.end() || !name->is_string()) return error_answer("an object without a \"cmd\"");
        const ControlRequest request{command, [this, fd] { return cancelled(fd); },
                                     [this, fd](const json& out) { return !stopping_ && send_line(fd, out); }};
        try {
            return handler_(request);
        } catch (const json::exception& e) {  // a field of another type than the handler asked for
            return error_answer(std::string("a field has the wrong type: ") + e.what());
        }
    }

    bool cancelled(int fd) const {
        if (stopping_) return true;
        pollfd peer{fd, 0, 0};  // POLLHUP comes unasked, once the peer has closed both ways
        return ::poll(&peer, 1, 0) > 0 && (peer.revents & (POLLHUP | POLLERR)) != 0;
    }

    // Constant after start().
    const ControlHandler handler_;
    const OwnFd stop_event_;  // raised once and for ever
    const OwnFd wake_event_;  // a client has ended
    std::vector<Listener> listeners_;
    std::thread acceptor_;

    std::atomic<bool> stopping_ = false;
    std::once_flag stopped_;
    std::list<Client> clients_;  // the accepting thread's; stop()'s when that has ended
};

ControlServer::ControlServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlServer::~ControlServer() = default;
void ControlServer::stop() { impl_->stop(); }

Result<std::unique_ptr<ControlServer>, std::string> ControlServer::listen(const std::vector<Place>& places,
                                                                          ControlHandler handler) {
    auto impl = std::make_unique<Impl>(std::move(handler));
    if (auto started = impl->start(places); !started) return Unexpected<std::string>(started.error());
    return std::unique_ptr<ControlServer>(new ControlServer(std::move(impl)));
}

}  // namespace tdfs

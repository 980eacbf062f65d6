#include "tests/e2e/harness/link.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <system_error>

namespace tdfs::e2e {
namespace {

constexpr std::size_t kBuffer = 64 * 1024;

std::system_error failed(const std::string& what) { return {errno, std::generic_category(), what}; }

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int bound_socket(std::uint16_t& port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        throw failed("bind on loopback");
    }
    port = ntohs(address.sin_port);
    return fd;
}

}  // namespace

std::uint16_t free_port() {
    std::uint16_t port = 0;
    close(bound_socket(port));
    return port;
}

int connect_to(std::uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(port);
    if (fd >= 0 && connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

Link::Link(std::uint16_t target_port) : target_port_(target_port) {
    listener_ = bound_socket(port_);
    int ends[2];
    if (listen(listener_, 64) != 0 || fcntl(listener_, F_SETFL, O_NONBLOCK) != 0 ||
        pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        throw failed("listen on loopback");
    }
    wake_read_ = ends[0];
    wake_write_ = ends[1];
    thread_ = std::thread([this] { work(); });
}

Link::~Link() {
    stop_ = true;
    wake();
    thread_.join();
    for (Pair& pair : pairs_) {
        close_pair(pair);
    }
    close(listener_);
    close(wake_read_);
    close(wake_write_);
}

void Link::wake() {
    if (write(wake_write_, "", 1) < 0 && errno != EAGAIN) {
        throw failed("write to a pipe");
    }
}

void Link::cut() {
    cut_done_ = false;
    open_ = false;
    wake();
    while (!cut_done_) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

void Link::restore() {
    open_ = true;
    wake();
}

void Link::pause() {
    paused_ = true;
    wake();
}

void Link::resume() {
    paused_ = false;
    wake();
}

void Link::corrupt() { corrupt_ = true; }

void Link::misbehave(Trouble what, std::uint64_t random) {
    trouble_random_ = random;
    trouble_ = what;
}

// What has just been read into a buffer that was `old_size` long.
void Link::mangle(Pair& pair, bool forward, std::size_t old_size) {
    std::string& buffer = forward ? pair.to_target : pair.to_client;
    const std::size_t fresh = buffer.size() - old_size;
    std::uint64_t random = trouble_random_;
    const auto below = [&](std::size_t limit) {
        const std::size_t value = random % limit;
        random = random / limit * 0x9E3779B97F4A7C15ULL + 0x1234567;
        return value;
    };
    if (pair.silent) {
        buffer.resize(old_size);
    }
    if (pair.silent || fresh == 0 || trouble_ == Trouble::kNone || (below(2) == 0) != forward) {
        return;
    }
    const std::size_t at = old_size + below(fresh), more = 1 + below(buffer.size() - at);
    switch (trouble_.exchange(Trouble::kNone)) {
        case Trouble::kFlip:
            buffer[at] = static_cast<char>(buffer[at] ^ (1 << below(8)));
            break;
        case Trouble::kDuplicate:
            buffer.insert(at + more, buffer.substr(at, more));
            break;
        case Trouble::kSwap:
            buffer = buffer.substr(0, old_size) + buffer.substr(at) + buffer.substr(old_size, at - old_size);
            break;
        case Trouble::kCutInside:
            buffer.resize(at);
            pair.ending = true;
            break;
        case Trouble::kReset:
            reset_pair(pair);
            break;
        case Trouble::kSilence:
            buffer.resize(old_size);
            pair.silent = true;
            break;
        case Trouble::kNone:
            break;
    }
}

void Link::reset_pair(Pair& pair) {
    const linger hard{1, 0};
    for (int* fd : {&pair.client, &pair.target}) {
        setsockopt(*fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(*fd);
        *fd = -1;
    }
}

void Link::accept_one() {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0) {
        return;
    }
    const int target = open_ ? connect_to(target_port_) : -1;
    if (target < 0) {
        close(client);
        return;
    }
    const int on = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(target, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(target, F_SETFL, O_NONBLOCK);
    pairs_.push_back({client, target, {}, {}, false, false});
    connections_++;
}

// Reads what is there; false when the other side has ended.
bool Link::pump(int from, std::string& buffer) const {
    char bytes[kBuffer];
    const ssize_t n = read(from, bytes, sizeof bytes);
    if (n > 0) {
        buffer.append(bytes, static_cast<std::size_t>(n));
        return true;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

bool Link::flush(int to, std::string& buffer, std::atomic<std::uint64_t>& count) {
    const ssize_t n = send(to, buffer.data(), buffer.size(), MSG_NOSIGNAL);
    if (n > 0) {
        count += static_cast<std::uint64_t>(n);
        buffer.erase(0, static_cast<std::size_t>(n));
    }
    return n >= 0 || errno == EAGAIN || errno == EINTR;
}

void Link::close_pair(Pair& pair) {
    if (pair.client >= 0) {
        close(pair.client);
        // Closing with something unread would reset the connection, and the target might lose what it was sent.
        shutdown(pair.target, SHUT_WR);
        char rest[kBuffer];
        pollfd wait{pair.target, POLLIN, 0};
        while (poll(&wait, 1, 1000) > 0 && read(pair.target, rest, sizeof rest) > 0) {
        }
        close(pair.target);
        pair.client = pair.target = -1;
    }
}

void Link::work() {
    while (!stop_) {
        if (!open_) {
            for (Pair& pair : pairs_) {
                close_pair(pair);
            }
        }
        std::erase_if(pairs_, [](const Pair& pair) { return pair.client < 0; });
        if (!open_) {
            cut_done_ = true;
        }
        std::vector<pollfd> waits{{wake_read_, POLLIN, 0}, {listener_, POLLIN, 0}};
        for (const Pair& p : pairs_) {
            const auto events = [&](const std::string& incoming, const std::string& outgoing) {
                const int wish = (incoming.size() < kBuffer ? POLLIN : 0) | (outgoing.empty() ? 0 : POLLOUT);
                return static_cast<short>(paused_ ? 0 : wish);
            };
            waits.push_back({paused_ ? -1 : p.client, events(p.to_target, p.to_client), 0});
            waits.push_back({paused_ ? -1 : p.target, events(p.to_client, p.to_target), 0});
        }
        if (poll(waits.data(), waits.size(), -1) < 0) {
            continue;
        }
        char bytes[64];
        while (read(wake_read_, bytes, sizeof bytes) > 0) {
        }
        for (std::size_t i = 0; i < pairs_.size() && open_ && !paused_; i++) {
            Pair& p = pairs_[i];
            const short client = waits[2 + 2 * i].revents;
            const short target = waits[3 + 2 * i].revents;
            constexpr short kReadable = POLLIN | POLLHUP | POLLERR;
            bool alive = true;
            if ((client & kReadable) != 0) {
                const std::size_t had = p.to_target.size();
                alive = pump(p.client, p.to_target);
                mangle(p, true, had);
                if (!p.to_target.empty() && corrupt_.exchange(false)) {
                    p.to_target.back() = static_cast<char>(p.to_target.back() ^ 0x10);
                }
            }
            if (alive && p.target >= 0 && (target & kReadable) != 0) {
                const std::size_t had = p.to_client.size();
                alive = pump(p.target, p.to_client);
                mangle(p, false, had);
            }
            if (p.target < 0) {  // reset
                continue;
            }
            alive = flush(p.target, p.to_target, forward_bytes_) && alive;
            alive = flush(p.client, p.to_client, backward_bytes_) && alive;
            if (p.ending && p.to_target.empty() && p.to_client.empty()) {
                alive = false;
            }
            if (!alive) {
                close_pair(p);
            }
        }
        if ((waits[1].revents & POLLIN) != 0) {
            accept_one();
        }
    }
}

}  // namespace tdfs::e2e

#include "tests/sim/network.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "tests/sim/world.hpp"

namespace tdfs::sim {

int Network::descriptor(int process) {
    const Quiet quiet;
    const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    TDFS_INVARIANT(fd >= 0, "a descriptor can be had");
    world_.owner_of[fd] = process;
    return fd;
}

int Network::listen(int process, const std::string& host) {
    const int fd = descriptor(process);
    listeners_[fd] = {process, host, {}};
    return fd;
}

int Network::connect(int process, const std::string& host) {
    for (auto& [listener, door] : listeners_) {
        if (door.host != host) continue;
        const Quality& quality = qualities_[door.process];
        if (quality.refused || quality.silent) break;
        auto connection = std::make_shared<Connection>();
        connection->slave = door.process;
        const int fd = descriptor(process);
        ends_[fd] = {connection, 0};
        door.waiting.push_back({connection, 1});
        return fd;
    }
    return -1;
}

int Network::accept(int listener) {
    Door& door = listeners_.at(listener);
    if (door.waiting.empty()) return -1;
    const int fd = descriptor(door.process);
    ends_[fd] = std::move(door.waiting.front());
    door.waiting.pop_front();
    return fd;
}

bool Network::has_arrived(const End& end) const {
    return !end.arriving.empty() && end.arriving.front().at <= world_.scheduler.now();
}

long Network::send(int fd, ByteView bytes) {
    Handle& own = ends_.at(fd);
    End& here = own.connection->ends[own.side];
    End& there = own.connection->ends[1 - own.side];
    const Quality& quality = qualities_[own.connection->slave];
    if (here.reset || !there.open) {
        errno = here.reset ? ECONNRESET : EPIPE;
        return -1;
    }
    if (there.queued >= quality.window_bytes) {
        errno = EAGAIN;
        return -1;
    }
    const auto n = std::min<std::size_t>(bytes.size(), quality.window_bytes - there.queued);
    Bytes piece(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    if (quality.flip_in != 0 && random_.below(quality.flip_in) < n) {
        piece[random_.below(n)] ^= static_cast<std::byte>(1u << random_.below(8));
        world_.say("a byte is damaged on the way");
    }
    auto at = world_.scheduler.now() + quality.latency_ns;
    if (!there.arriving.empty()) at = std::max(at, there.arriving.back().at);
    if (quality.silent || own.connection->dead) at = kNever;
    there.arriving.push_back({at, std::move(piece)});
    there.queued += n;
    return static_cast<long>(n);
}

long Network::receive(int fd, std::span<std::byte> into) {
    Handle& own = ends_.at(fd);
    End& here = own.connection->ends[own.side];
    if (has_arrived(here)) {
        auto& piece = here.arriving.front().bytes;
        auto n = std::min(into.size(), piece.size());
        if (random_.one_in(4)) n = 1 + random_.below(n);
        std::copy_n(piece.begin(), n, into.begin());
        piece.erase(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(n));
        if (piece.empty()) here.arriving.pop_front();
        here.queued -= n;
        return static_cast<long>(n);
    }
    if (here.reset) {
        errno = ECONNRESET;
        return -1;
    }
    if (here.finished && here.arriving.empty()) return 0;
    errno = EAGAIN;
    return -1;
}

void Network::shut(int fd) {
    Handle& own = ends_.at(fd);
    if (!own.connection->dead) own.connection->ends[1 - own.side].finished = true;
}

void Network::closed(int fd, bool without_a_word) {
    if (const auto it = listeners_.find(fd); it != listeners_.end()) {
        for (const auto& handle : it->second.waiting) handle.connection->ends[0].reset = true;
        listeners_.erase(it);
        return;
    }
    const auto it = ends_.find(fd);
    if (it == ends_.end()) return;
    auto& [connection, side] = it->second;
    connection->ends[side].open = false;
    if (without_a_word) {
        connection->dead = true;
        for (auto& piece : connection->ends[1 - side].arriving) {
            if (piece.at > world_.scheduler.now()) piece.at = kNever;
        }
        connection->ends[side].open = true;  // the other side does not learn of it
    } else if (!connection->dead) {
        connection->ends[1 - side].finished = true;
        // Bytes that nobody reads any more make the close a reset.
        if (connection->ends[side].queued != 0) connection->ends[1 - side].reset = true;
    }
    ends_.erase(it);
}

void Network::cut(int process) {
    for (auto& [fd, handle] : ends_) {
        if (handle.connection->slave != process) continue;
        auto& end = handle.connection->ends[handle.side];
        while (!end.arriving.empty() && end.arriving.back().at > world_.scheduler.now()) {
            auto& last = end.arriving.back();
            const auto kept = random_.below(last.bytes.size() + 1);
            end.queued -= last.bytes.size() - kept;
            last.bytes.resize(kept);
            last.at = world_.scheduler.now();
            if (kept != 0) break;
            end.arriving.pop_back();
        }
        end.reset = true;
    }
}

short Network::ready(int fd) const {
    if (const auto it = listeners_.find(fd); it != listeners_.end()) {
        return it->second.waiting.empty() ? 0 : POLLIN;
    }
    const Handle& own = ends_.at(fd);
    const End& here = own.connection->ends[own.side];
    const End& there = own.connection->ends[1 - own.side];
    short events = 0;
    if (has_arrived(here) || here.reset || (here.finished && here.arriving.empty())) events |= POLLIN;
    if (here.reset) events |= POLLERR;
    if (there.queued < qualities_.at(own.connection->slave).window_bytes) events |= POLLOUT;
    return events;
}

std::uint64_t Network::next_event() const {
    std::uint64_t next = kNever;
    for (const auto& [fd, handle] : ends_) {
        const auto& end = handle.connection->ends[handle.side];
        if (!end.arriving.empty() && end.arriving.front().at > world_.scheduler.now()) {
            next = std::min(next, end.arriving.front().at);
        }
    }
    return next;
}

}  // namespace tdfs::sim

// Links between simulated machines: late, cut in the middle of a frame, silent, damaged.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "proto/bytes.hpp"
#include "tests/sim/random.hpp"

namespace tdfs::sim {

struct World;

// Stands in for TCP behind common/stream/tcp.hpp: bytes arrive in order, some time later, in pieces of any size, or the
// connection ends. Descriptors are real ones without a use, so that numbers are owned and closed as always.
class Network {
  public:
    Network(World& world, Random random) : world_(world), random_(random) {}

    struct Quality {
        std::uint64_t latency_ns = 100'000;
        std::uint64_t window_bytes = 256 * 1024;
        std::uint64_t flip_in = 0;  // one byte in so many is damaged; 0: none
        bool refused = false;       // nobody can connect
        bool silent = false;        // nothing arrives, and nobody is told
    };
    // Of all links of one slave's process.
    Quality& quality(int process) { return qualities_[process]; }
    void cut(int process);  // what is under way arrives in part

    int listen(int process, const std::string& host);
    int connect(int process, const std::string& host);  // -1: nobody listens
    int accept(int listener);                           // -1: nobody waits

    // -1 with errno.
    long send(int fd, ByteView bytes);
    long receive(int fd, std::span<std::byte> into);
    void shut(int fd);                         // nothing more is sent
    void closed(int fd, bool without_a_word);  // the descriptor goes; unknown ones are let be

    [[nodiscard]] bool knows(int fd) const { return ends_.contains(fd) || listeners_.contains(fd); }
    [[nodiscard]] short ready(int fd) const;         // of POLLIN, POLLOUT, POLLERR
    [[nodiscard]] std::uint64_t next_event() const;  // when something more arrives

  private:
    struct Piece {
        std::uint64_t at;
        Bytes bytes;
    };
    struct End {
        std::deque<Piece> arriving;
        std::size_t queued = 0;  // bytes of it
        bool finished = false;   // the other side sends no more
        bool reset = false;      // ECONNRESET once what has arrived is read
        bool open = true;        // has a descriptor
    };
    struct Connection {
        std::array<End, 2> ends;
        int slave = 0;
        bool dead = false;  // one machine is gone: nothing moves any more
    };
    struct Handle {
        std::shared_ptr<Connection> connection;
        std::size_t side = 0;
    };
    struct Door {
        int process = 0;
        std::string host;
        std::deque<Handle> waiting;
    };
    [[nodiscard]] int descriptor(int process);
    [[nodiscard]] bool has_arrived(const End& end) const;

    World& world_;
    Random random_;
    std::map<int, Handle> ends_;
    std::map<int, Door> listeners_;
    std::map<int, Quality> qualities_;
};

}  // namespace tdfs::sim

// The network between master and one slave, in the test's hand.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace tdfs::e2e {

// What can be done to the next bytes that come, once.
enum class Trouble {
    kNone,
    kFlip,       // one bit
    kDuplicate,  // a piece comes twice
    kSwap,       // two neighbouring pieces change places
    kCutInside,  // some of them arrive, then the connection ends in order
    kReset,      // none of them arrives, the connection is reset on both sides
    kSilence,    // none of them nor any later byte of this connection arrives, but nobody closes it
};

// A TCP proxy on loopback: forwards connections to `target_port` until it is cut. One thread; its methods may be called
// from any thread.
class Link {
  public:
    explicit Link(std::uint16_t target_port);  // throws std::system_error
    ~Link();
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }

    // Ends all connections and takes no new ones. For the target it is an orderly end: it gets all that forward_bytes()
    // counts. Returns when it is so.
    void cut();
    void restore();
    // Forwards nothing but keeps the connections open: a black hole.
    void pause();
    void resume();
    // Flips one bit in the next bytes that go to the target.
    void corrupt();
    // In one direction or the other, at a place and of a kind that `random` decides. The trouble begins with the next bytes.
    void misbehave(Trouble what, std::uint64_t random);
    [[nodiscard]] bool is_misbehaving() const { return trouble_ != Trouble::kNone; }  // those bytes have not come yet

    // Bytes handed to the target (to_target) and back.
    [[nodiscard]] std::uint64_t forward_bytes() const { return forward_bytes_; }
    [[nodiscard]] std::uint64_t backward_bytes() const { return backward_bytes_; }
    [[nodiscard]] std::uint64_t connections() const { return connections_; }

  private:
    struct Pair {
        int client = -1, target = -1;
        std::string to_target, to_client;
        bool silent = false, ending = false;
    };
    void work();
    void accept_one();
    bool pump(int from, std::string& buffer) const;
    bool flush(int to, std::string& buffer, std::atomic<std::uint64_t>& count);
    void mangle(Pair& pair, bool forward, std::size_t old_size);
    static void reset_pair(Pair& pair);
    void close_pair(Pair& pair);
    void wake();

    int listener_ = -1;
    int wake_read_ = -1, wake_write_ = -1;
    std::uint16_t port_ = 0;
    const std::uint16_t target_port_;
    std::atomic<bool> stop_ = false, open_ = true, paused_ = false, corrupt_ = false, cut_done_ = false;
    std::atomic<std::uint64_t> forward_bytes_ = 0, backward_bytes_ = 0, connections_ = 0;
    std::atomic<Trouble> trouble_ = Trouble::kNone;
    std::atomic<std::uint64_t> trouble_random_ = 0;
    std::vector<Pair> pairs_;  // the thread's own
    std::thread thread_;
};

// A port on loopback that nobody listens on now.
std::uint16_t free_port();

// Connects to a port on loopback; -1 on failure. The caller closes.
int connect_to(std::uint16_t port);

}  // namespace tdfs::e2e

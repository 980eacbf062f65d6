// The control socket: one JSON object a line in, one a line out. tdfsctl speaks to it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "common/control/places.hpp"
#include "proto/result.hpp"

namespace tdfs {

inline constexpr std::size_t kMaxControlLineBytes = 1024 * 1024;
inline constexpr std::size_t kMaxControlClients = 64;

// Answers one command ({"cmd": "status", ...}) with a JSON object: {"ok": true, ...}, or {"error": "...", "code": 1}
// where it failed (code 4: it timed out). May block (drain, wait); `cancelled` tells that the client went away or the
// server stops: ask it at least each 100 ms. emit() sends a line before the last one (log --follow); false: nobody
// reads any more.
struct ControlRequest {
    const nlohmann::json& command;
    std::function<bool()> cancelled;
    std::function<bool(const nlohmann::json&)> emit;
};
using ControlHandler = std::function<nlohmann::json(const ControlRequest&)>;

// Listens on unix sockets (mode 0600); one thread per connected client, at most kMaxControlClients, more are told so.
// What is no JSON object on a line is answered with an error; a line that is too long ends the client.
//
// Owned by main; `handler` is called from its threads, by several at once. stop() waits for handlers to return, so a
// handler must not call it.
class ControlServer {
  public:
    // (directory descriptor, file name) pairs; a dead socket file of an earlier process is replaced.
    struct Place {
        int dir;
        std::string name;
    };
    static Result<std::unique_ptr<ControlServer>, std::string> listen(const std::vector<Place>& places,
                                                                      ControlHandler handler);
    ~ControlServer();  // stop()
    void stop();       // ends all clients, removes the sockets

  private:
    class Impl;
    explicit ControlServer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace tdfs

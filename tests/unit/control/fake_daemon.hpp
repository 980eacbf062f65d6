// A directory with a control server that answers like a daemon, and raw connections to it.
#pragma once

#include <fcntl.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include "common/control/control.hpp"
#include "common/control/lines.hpp"
#include "common/os/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

namespace tdfs::test {

// Knows: echo, status, fail, wait (until cancelled, or code 4 at once with timeout_ms 1), log (three lines), stop.
class FakeDaemon {
  public:
    explicit FakeDaemon(nlohmann::json status = {{"ok", true}, {"role", "slave"}, {"version", "9.9"}})
        : status_(std::move(status)) {
        std::filesystem::create_directory(directory() / ".tdfs");
        auto fd = open_at(temp_.fd(), ".tdfs", O_RDONLY | O_DIRECTORY);
        REQUIRE(fd);
        state_ = std::move(*fd);
        start({{state_.get(), kControlSocketName}});
    }
    FakeDaemon(const FakeDaemon&) = delete;
    FakeDaemon& operator=(const FakeDaemon&) = delete;
    ~FakeDaemon() { server_.reset(); }

    void start(const std::vector<ControlServer::Place>& places) {
        server_.reset();
        auto server = ControlServer::listen(places, [this](const ControlRequest& request) { return answer(request); });
        REQUIRE(server);
        server_ = std::move(*server);
    }
    void stop() { server_.reset(); }

    [[nodiscard]] const std::filesystem::path& directory() const { return temp_.path(); }
    [[nodiscard]] int state() const { return state_.get(); }
    [[nodiscard]] int waiting() const { return waiting_; }
    [[nodiscard]] int cancelled() const { return cancelled_; }

  private:
    nlohmann::json answer(const ControlRequest& request) {
        using nlohmann::json;
        const auto& command = request.command;
        const auto name = command["cmd"].get<std::string>();
        if (name == "echo") return {{"ok", true}, {"text", command.at("text").get<std::string>()}};
        if (name == "status") return status_;
        if (name == "drain") return {{"ok", true}, {"position", "00000000000000ff:42"}, {"asked", command}};
        if (name == "stop") return {{"ok", true}};
        if (name == "log") {
            for (int i = 0; i < 3; ++i) {
                if (!request.emit({{"line", "record " + std::to_string(i)}})) return {{"error", "gone"}, {"code", 1}};
            }
            return {{"ok", true}};
        }
        if (name == "wait") {
            if (command.value("timeout_ms", 0) == 1) return {{"error", "not applied in time"}, {"code", 4}};
            ++waiting_;
            while (!request.cancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
            ++cancelled_;
            return {{"error", "cancelled"}, {"code", 1}};
        }
        return {{"error", "unknown command"}, {"code", 1}};
    }

    TempDir temp_;
    OwnFd state_;
    const nlohmann::json status_;
    std::atomic<int> waiting_ = 0;
    std::atomic<int> cancelled_ = 0;
    std::unique_ptr<ControlServer> server_;
};

// Waits for what must come; the test's own time limit ends it if it does not.
template <class Condition>
void await(Condition condition) {
    while (!condition()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace tdfs::test

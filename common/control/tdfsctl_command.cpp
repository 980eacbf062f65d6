#include "common/control/tdfsctl_command.hpp"

#include <unistd.h>

#include <cstdio>
#include <thread>

#include <nlohmann/json.hpp>

#include "common/control/render.hpp"
#include "common/control/status.hpp"
#include "common/control/tdfsctl_inspect.hpp"
#include "proto/path.hpp"
#include "tdfs_config.hpp"

namespace tdfs {

namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kAnswerTimeout{30};  // of commands that the daemon answers at once
constexpr seconds kMargin{10};         // for an answer that says itself that it timed out
constexpr seconds kStopTimeout{60};
constexpr milliseconds kForEver{2'000'000'000};  // 23 days

using Outcome = Result<void, ControlError>;

void print(const std::string& text) {
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);  // log --follow into a pipe
}

void print_json(const json& object, int indent) {
    print(object.dump(indent, ' ', false, json::error_handler_t::replace) + "\n");
}

std::string text_field(const json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Result<json, ControlError> ask_once(const CtlOptions& options, const json& command, std::optional<milliseconds> timeout,
                                    const std::function<void(const json&)>& on_line = {}) {
    auto client = ControlClient::connect(options.directory, options.state_dir);
    if (!client) return Unexpected<ControlError>(client.error());
    return client->ask(command, timeout, on_line);
}

Outcome show_status(const CtlOptions& options) {
    const auto answer = ask_once(options, {{"cmd", "status"}}, kAnswerTimeout);
    if (!answer) return Unexpected<ControlError>(answer.error());
    if (options.json) {
        print_json(*answer, options.watch ? -1 : 2);
        return {};
    }
    const auto status = status_from_json(*answer);
    if (!status) return failed(status.error());
    const auto text = std::visit([](const auto& s) { return render(s); }, *status);
    const bool clear = options.watch && ::isatty(STDOUT_FILENO) == 1;
    print((clear ? "\033[H\033[2J" : "") + text);
    return {};
}

Outcome run_status(const CtlOptions& options) {
    for (;;) {
        auto shown = show_status(options);
        if (!shown || !options.watch) return shown;
        std::this_thread::sleep_for(seconds(1));
    }
}

// drain and wait: the daemon keeps the time, we only add a margin.
Outcome run_waiting(const CtlOptions& options, json command, const char* done) {
    const auto timeout = options.timeout.value_or(kForEver);
    command["timeout_ms"] = timeout.count();
    const auto answer = ask_once(options, command, timeout + kMargin);
    if (!answer) return Unexpected<ControlError>(answer.error());
    const auto position = text_field(*answer, "position");
    if (options.json) {
        print_json(*answer, -1);
    } else {
        print(std::string(done) + (position.empty() ? "" : " at " + printable(position)) + "\n");
    }
    return {};
}

Outcome run_log(const CtlOptions& options) {
    json command{{"cmd", "log"}, {"follow", options.follow}};
    if (options.from) command["from"] = *options.from;
    if (options.to) command["to"] = *options.to;
    const auto answer = ask_once(options, command, std::nullopt, [&](const json& line) {
        if (options.json) {
            print_json(line, -1);
        } else {
            print(text_field(line, "line") + "\n");
        }
    });
    if (!answer) return Unexpected<ControlError>(answer.error());
    return {};
}

Outcome run_stop(const CtlOptions& options) {
    auto client = ControlClient::connect(options.directory, options.state_dir);
    if (!client) return Unexpected<ControlError>(client.error());
    const auto timeout = options.timeout.value_or(kStopTimeout);
    const auto answer = client->ask({{"cmd", "stop"}}, timeout);
    if (!answer) return Unexpected<ControlError>(answer.error());
    if (!client->wait_for_end(timeout)) {
        return Unexpected<ControlError>(
            ControlError{ControlExit::kTimedOut, "the daemon has been told to end and has not ended yet"});
    }
    if (options.json) {
        print_json(*answer, -1);
    } else {
        print("stopped\n");
    }
    return {};
}

Outcome run_order(const CtlOptions& options, const char* command, const char* done) {
    const auto answer = ask_once(options, {{"cmd", command}}, kAnswerTimeout);
    if (!answer) return Unexpected<ControlError>(answer.error());
    if (options.json) {
        print_json(*answer, -1);
    } else {
        print(std::string(done) + "\n");
    }
    return {};
}

Outcome run_version(const CtlOptions& options) {
    json versions{{"tdfsctl", TDFS_VERSION}};
    if (!options.directory.empty() || !options.state_dir.empty()) {
        const auto answer = ask_once(options, {{"cmd", "status"}}, kAnswerTimeout);
        if (!answer) return Unexpected<ControlError>(answer.error());
        versions["daemon"] = text_field(*answer, "version");
    }
    if (options.json) {
        print_json(versions, -1);
        return {};
    }
    for (const auto& [program, version] : versions.items()) print(program + " " + version.get<std::string>() + "\n");
    return {};
}

std::string hex(Epoch epoch) {
    const auto text = to_text(Position{epoch, Lsn()});
    return text.substr(0, text.find(':'));
}

}  // namespace

Outcome run_tdfsctl(const CtlOptions& options) {
    switch (options.command) {
        case CtlCommand::kHelp:
            print(tdfsctl_help());
            return {};
        case CtlCommand::kVersion:
            return run_version(options);
        case CtlCommand::kStatus:
            return run_status(options);
        case CtlCommand::kDrain:
            return run_waiting(options, {{"cmd", "drain"}, {"slaves", options.slaves}}, "drained");
        case CtlCommand::kWait: {
            const auto& position = options.position;
            return run_waiting(
                options, {{"cmd", "wait"}, {"epoch", hex(position.epoch)}, {"lsn", position.lsn.bytes()}}, "applied");
        }
        case CtlCommand::kLog:
            return run_log(options);
        case CtlCommand::kPause:
            return run_order(options, "pause", "paused");
        case CtlCommand::kResume:
            return run_order(options, "resume", "resumed");
        case CtlCommand::kInspect:
            return run_inspect(options);
        case CtlCommand::kStop:
            return run_stop(options);
    }
    return failed("a command without its code");
}

}  // namespace tdfs

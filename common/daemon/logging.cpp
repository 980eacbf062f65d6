#include <fcntl.h>
#include <syslog.h>

#include <filesystem>
#include <optional>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/dist_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>

#include "common/daemon/daemon.hpp"

namespace tdfs {

namespace {

constexpr const char* kPattern = "%Y-%m-%dT%H:%M:%S.%e%z %n %l: %v";

// A wrapper whose file sink can be exchanged while others log.
using FileHolder = spdlog::sinks::dist_sink_mt;

std::optional<spdlog::level::level_enum> parse_level(const std::string& level) {
    if (level == "error") return spdlog::level::err;
    if (level == "warn") return spdlog::level::warn;
    if (level == "info") return spdlog::level::info;
    if (level == "debug") return spdlog::level::debug;
    return std::nullopt;
}

spdlog::sink_ptr open_log_file(const std::string& file) {
    // Made here first: spdlog would leave the mode to the umask, which a master has set to 0. Its error is spdlog's to
    // tell.
    const OwnFd made(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    return std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
}

// To the terminal: in the background only what a person must see before the parent exits.
spdlog::sink_ptr terminal(bool foreground) {
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    if (!foreground) sink->set_level(spdlog::level::warn);
    return sink;
}

}  // namespace

Result<void, std::string> start_logging(const std::string& program, bool foreground, const std::string& file,
                                        const std::string& level) {
    const auto threshold = parse_level(level);
    if (!threshold) {
        return Unexpected<std::string>("unknown log level \"" + level + "\": it is one of error, warn, info, debug");
    }
    try {
        std::vector<spdlog::sink_ptr> sinks{terminal(foreground)};
        if (!file.empty()) {
            auto holder = std::make_shared<FileHolder>();
            holder->add_sink(open_log_file(std::filesystem::absolute(file).string()));
            sinks.push_back(std::move(holder));
        } else if (!foreground) {
            sinks.push_back(std::make_shared<spdlog::sinks::syslog_sink_mt>(program, LOG_PID, LOG_DAEMON, false));
        }
        auto logger = std::make_shared<spdlog::logger>(program, sinks.begin(), sinks.end());
        logger->set_level(*threshold);
        logger->set_pattern(kPattern);
        // syslog stamps its lines itself. Its sink comes last; the pattern above was set for all.
        if (file.empty() && !foreground) sinks.back()->set_pattern("%l: %v");
        logger->flush_on(spdlog::level::trace);  // few lines, and the last one before a crash matters most
        spdlog::set_default_logger(std::move(logger));
    } catch (const spdlog::spdlog_ex& e) {
        return Unexpected<std::string>("cannot log to " + file + ": " + e.what());
    } catch (const std::filesystem::filesystem_error& e) {
        return Unexpected<std::string>("cannot log to " + file + ": " + e.what());
    }
    return {};
}

void reopen_log() {
    for (const auto& sink : spdlog::default_logger()->sinks()) {
        const auto holder = std::dynamic_pointer_cast<FileHolder>(sink);
        if (!holder) continue;
        for (const auto& held : holder->sinks()) {
            const auto file = std::dynamic_pointer_cast<spdlog::sinks::basic_file_sink_mt>(held);
            if (!file) continue;
            try {
                auto fresh = open_log_file(file->filename());
                fresh->set_pattern(kPattern);
                holder->set_sinks({fresh});
                spdlog::info("log file opened again: file={}", file->filename());
            } catch (const spdlog::spdlog_ex& e) {
                spdlog::error("log file cannot be opened again, the old one is kept: {}", e.what());
            }
            return;
        }
    }
}

}  // namespace tdfs

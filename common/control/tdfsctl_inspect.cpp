#include "common/control/tdfsctl_inspect.hpp"

#include <unistd.h>

#include <cstdio>
#include <map>

#include <nlohmann/json.hpp>

#include "common/control/human.hpp"

namespace tdfs {

namespace {

using nlohmann::json;

constexpr int kBarWidth = 20;

std::string text_of(const json& line, const char* name) {
    const auto at = line.find(name);
    return at != line.end() && at->is_string() ? at->get<std::string>() : std::string();
}
std::uint64_t number_of(const json& line, const char* name) {
    const auto at = line.find(name);
    return at != line.end() && at->is_number_unsigned() ? at->get<std::uint64_t>() : 0;
}
double share_of(const json& line) {
    const auto at = line.find("share");
    return at != line.end() && at->is_number() ? at->get<double>() : 0;
}

std::string plural(std::uint64_t n, const char* noun) { return std::to_string(n) + " " + noun + (n == 1 ? "" : "s"); }

// "12 files, 3.4 MiB compared, 1 difference"
std::string counts_text(const json& line) {
    std::string text = plural(number_of(line, "files"), "object") + " and " + human_bytes(number_of(line, "bytes")) +
                       " of content compared, " + plural(number_of(line, "differences"), "difference");
    if (const auto healed = number_of(line, "healed"); healed != 0) text += ", " + std::to_string(healed) + " healed";
    if (const auto n = number_of(line, "unreadable"); n != 0) text += ", " + std::to_string(n) + " not comparable";
    return text;
}

// Findings on stdout; the bar on stderr, where that is a terminal, on one line that is written over.
class Screen {
  public:
    void show(const json& line) {
        if (text_of(line, "event") == "progress") {
            progress_[text_of(line, "slave")] = line;
            return draw();
        }
        clear();
        std::string text = text_of(line, "slave") + ": " + text_of(line, "kinds") + ": " + text_of(line, "path");
        const auto healed = line.find("healed");
        if (healed != line.end() && healed->is_boolean() && healed->get<bool>()) text += " (healed)";
        if (const auto detail = text_of(line, "detail"); !detail.empty()) text += " (" + detail + ")";
        std::fputs((text + "\n").c_str(), stdout);
        std::fflush(stdout);
        draw();
    }
    void clear() {
        if (drawn_) std::fputs("\r\033[K", stderr);
        drawn_ = false;
    }

  private:
    void draw() {
        if (!terminal_ || progress_.empty()) return;
        double share = 1;
        std::uint64_t files = 0;
        std::uint64_t bytes = 0;
        for (const auto& [slave, line] : progress_) {
            share = std::min(share, share_of(line));
            files += number_of(line, "files");
            bytes += number_of(line, "bytes");
        }
        const std::string text = progress_bar(share, kBarWidth) + " " + std::to_string(static_cast<int>(share * 100)) +
                                 "% " + plural(files, "object") + ", " + human_bytes(bytes);
        std::fputs(("\r\033[K" + text).c_str(), stderr);
        std::fflush(stderr);
        drawn_ = true;
    }

    const bool terminal_ = ::isatty(STDERR_FILENO) == 1;
    bool drawn_ = false;
    std::map<std::string, json> progress_;
};

void print_line(const json& line) {
    std::puts(line.dump(-1, ' ', false, json::error_handler_t::replace).c_str());
    std::fflush(stdout);
}

}  // namespace

Result<void, ControlError> run_inspect(const CtlOptions& options) {
    auto client = ControlClient::connect(options.directory, options.state_dir);
    if (!client) return Unexpected<ControlError>(client.error());
    json command{{"cmd", "inspect"}, {"full", options.full}, {"repair", options.repair}};
    command["slaves"] = options.slaves;
    command["paths"] = options.paths;
    if (options.rate) command["rate"] = *options.rate;
    Screen screen;
    const auto answer = client->ask(command, options.timeout, [&](const json& line) {
        if (options.json) {
            print_line(line);
        } else {
            screen.show(line);
        }
    });
    screen.clear();
    if (!answer) {
        auto error = answer.error();
        if (error.code == ControlExit::kFailed) error.code = ControlExit::kNotChecked;
        return Unexpected<ControlError>(std::move(error));
    }
    if (options.json) {
        print_line(*answer);
    } else {
        for (const auto& row : answer->value("slaves", json::array())) {
            const auto problem = text_of(row, "error");
            std::puts(
                (text_of(row, "slave") + ": " + counts_text(row) + (problem.empty() ? "" : "; " + problem)).c_str());
        }
    }
    const auto differences = number_of(*answer, "differences");
    if (differences != 0) {
        const auto healed = number_of(*answer, "healed");
        return Unexpected<ControlError>(ControlError{
            ControlExit::kFailed, plural(differences, "difference") + " found, " + std::to_string(healed) + " healed"});
    }
    if (const auto problem = text_of(*answer, "problem"); !problem.empty()) {
        return Unexpected<ControlError>(ControlError{ControlExit::kNotChecked, problem});
    }
    if (const auto n = number_of(*answer, "unreadable"); n != 0) {
        return Unexpected<ControlError>(
            ControlError{ControlExit::kNotChecked, plural(n, "object") + " could not be compared"});
    }
    return {};
}

}  // namespace tdfs

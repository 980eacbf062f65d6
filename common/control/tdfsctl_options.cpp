#include "common/control/tdfsctl_options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include <cxxopts.hpp>

#include "common/control/human.hpp"

namespace tdfs {

namespace {

constexpr const char* kHelp =
    R"(usage: tdfsctl -m DIR [--state-dir S] [--json] COMMAND

Speaks to the daemon (tdfs or tdfs_slave) that works on DIR.

  status [--watch]                      what it does, and how far its slaves are
  drain [SLAVE...] [--timeout SEC]      master: wait until the slaves (all if none is named) have applied everything
  wait --position EPOCH:LSN [--timeout SEC]
                                        slave: wait until that position is applied
  log [--from LSN] [--to LSN] [--follow]
                                        the journal, one record a line
  pause                                 slave: apply nothing until resume, over restarts too; receiving goes on
  resume                                slave: apply again; after --delete-limit, also the deletions received so far
  inspect [--quick|--full] [--repair] [--slave NAME]... [--rate BYTES] [PATH...]
                                        is it really the same? Compares slaves with the master (on a slave: itself),
                                        the whole tree or some paths; quick by size, time and attributes, full by
                                        content; --repair heals what differs
  stop [--timeout SEC]                  end the daemon in order, and wait for its end (60 s if not told otherwise)
  version                               of this program, and of the daemon if DIR is given

  -m DIR               the directory the daemon was started with
  -S, --state-dir S    where its state is, if not in DIR/.tdfs
  --json               answers as JSON, for programs
  -h, --help           this text

exit status: 0 done, 1 the daemon said why not (inspect: differences were found), 2 wrong usage, 3 no daemon there,
4 timed out, 5 inspect: not everything could be compared
)";

struct CommandRule {
    const char* name;
    CtlCommand command;
    std::vector<std::string_view> options;  // beside -m, -S, --json
    bool takes_words;
};

const std::vector<CommandRule>& rules() {
    static const std::vector<CommandRule> all{
        {"status", CtlCommand::kStatus, {"watch"}, false},
        {"drain", CtlCommand::kDrain, {"timeout"}, true},
        {"wait", CtlCommand::kWait, {"position", "timeout"}, false},
        {"log", CtlCommand::kLog, {"from", "to", "follow"}, false},
        {"inspect", CtlCommand::kInspect, {"quick", "full", "repair", "slave", "rate", "timeout"}, true},
        {"pause", CtlCommand::kPause, {}, false},
        {"resume", CtlCommand::kResume, {}, false},
        {"stop", CtlCommand::kStop, {"timeout"}, false},
        {"version", CtlCommand::kVersion, {}, false}};
    return all;
}

Unexpected<std::string> wrong(const std::string& what) { return Unexpected<std::string>(what); }

Result<std::uint64_t, std::string> parse_lsn(const std::string& option, const std::string& text) {
    std::uint64_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
        return wrong("--" + option + " takes a number (an lsn), not \"" + text + "\"");
    }
    return value;
}

Result<std::chrono::milliseconds, std::string> parse_seconds(const std::string& text) {
    constexpr double kMaxSeconds = 1e6;  // twelve days; longer is better said by leaving the option away
    double value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool number = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
    if (!number || !(value > 0) || value > kMaxSeconds) {
        return wrong("--timeout takes seconds, more than 0 and at most 1000000, not \"" + text + "\"");
    }
    return std::chrono::milliseconds(std::llround(std::ceil(value * 1000)));
}

cxxopts::Options declare() {
    cxxopts::Options options("tdfsctl");
    // clang-format off
    options.add_options()
        ("m", "", cxxopts::value<std::string>())
        ("S,state-dir", "", cxxopts::value<std::string>())
        ("json", "")
        ("h,help", "")
        ("watch", "")
        ("follow", "")
        ("timeout", "", cxxopts::value<std::string>())
        ("position", "", cxxopts::value<std::string>())
        ("quick", "")
        ("full", "")
        ("repair", "")
        ("slave", "", cxxopts::value<std::vector<std::string>>())
        ("rate", "", cxxopts::value<std::string>())
        ("from", "", cxxopts::value<std::string>())
        ("to", "", cxxopts::value<std::string>())
        ("words", "", cxxopts::value<std::vector<std::string>>());
    // clang-format on
    options.parse_positional({"words"});
    return options;
}

std::string text_of(const cxxopts::ParseResult& given, const std::string& option) {
    return given.count(option) != 0 ? given[option].as<std::string>() : std::string();
}

// Reads the options that belong to one command only.
Result<void, std::string> read_details(const cxxopts::ParseResult& given, CtlOptions& out) {
    if (given.count("timeout") != 0) {
        const auto timeout = parse_seconds(text_of(given, "timeout"));
        if (!timeout) return wrong(timeout.error());
        out.timeout = *timeout;
    }
    for (const auto& [option, target] : {std::pair{"from", &out.from}, std::pair{"to", &out.to}}) {
        if (given.count(option) == 0) continue;
        const auto lsn = parse_lsn(option, text_of(given, option));
        if (!lsn) return wrong(lsn.error());
        *target = *lsn;
    }
    if (given.count("rate") != 0) {
        const auto rate = parse_size(text_of(given, "rate"));
        if (!rate || *rate == 0) {
            return wrong("--rate takes bytes a second, as 500K, 10M or 1G, not \"" + text_of(given, "rate") + "\"");
        }
        out.rate = *rate;
    }
    if (given.count("quick") != 0 && given.count("full") != 0) return wrong("either --quick or --full");
    out.full = given.count("full") != 0;
    out.repair = given.count("repair") != 0;
    if (out.command == CtlCommand::kWait) {
        const auto position = parse_position(text_of(given, "position"));
        if (!position) return wrong("wait needs --position EPOCH:LSN, as status of the master shows it");
        out.position = *position;
    }
    return {};
}

Result<CtlOptions, std::string> read(const cxxopts::ParseResult& given) {
    CtlOptions out;
    if (given.count("help") != 0) return out;
    std::vector<std::string> words;
    if (given.count("words") != 0) words = given["words"].as<std::vector<std::string>>();
    if (words.empty())
        return wrong("which command? One of status, drain, wait, log, inspect, pause, resume, stop, version");

    const auto rule =
        std::find_if(rules().begin(), rules().end(), [&](const CommandRule& r) { return words.front() == r.name; });
    if (rule == rules().end()) {
        return wrong("unknown command \"" + words.front() +
                     "\": it is one of status, drain, wait, log, inspect, pause, resume, stop, version");
    }
    out.command = rule->command;
    for (const std::string option :
         {"watch", "follow", "timeout", "position", "from", "to", "quick", "full", "repair", "slave", "rate"}) {
        const bool allowed = std::find(rule->options.begin(), rule->options.end(), option) != rule->options.end();
        if (given.count(option) != 0 && !allowed) return wrong("--" + option + " does not go with " + rule->name);
    }
    if (words.size() > 1 && !rule->takes_words) {
        return wrong(std::string(rule->name) + " takes no word after it: \"" + words[1] + "\" is one too many");
    }
    (out.command == CtlCommand::kInspect ? out.paths : out.slaves).assign(words.begin() + 1, words.end());
    if (given.count("slave") != 0) out.slaves = given["slave"].as<std::vector<std::string>>();
    out.directory = text_of(given, "m");
    out.state_dir = text_of(given, "state-dir");
    out.json = given.count("json") != 0;
    out.watch = given.count("watch") != 0;
    out.follow = given.count("follow") != 0;
    if (out.directory.empty() && out.state_dir.empty() && out.command != CtlCommand::kVersion) {
        return wrong("which directory? Name it with -m DIR");
    }
    if (auto details = read_details(given, out); !details) return wrong(details.error());
    return out;
}

}  // namespace

const char* tdfsctl_help() { return kHelp; }

Result<CtlOptions, std::string> parse_tdfsctl(int argc, const char* const* argv) {
    try {
        return read(declare().parse(argc, argv));
    } catch (const cxxopts::exceptions::exception& e) {
        return wrong(e.what());
    }
}

}  // namespace tdfs

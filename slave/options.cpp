#include "slave/options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include <cxxopts.hpp>

#include "common/daemon/config.hpp"
#include "slave/applied_state.hpp"
#include "slave/healer.hpp"
#include "tdfs_config.hpp"

namespace tdfs {

namespace {

constexpr const char* kHelp =
    R"(Usage: tdfs_slave -m DIR [OPTION...]

Keeps DIR equal to the directory of a tdfs master, which connects to this address. DIR is then changed by nobody else.

  -m, --directory DIR   the directory that receives
  -l, --listen ADDR:PORT
                        where to listen (127.0.0.1:4710); also ADDR, :PORT, PORT, [ADDR6]:PORT.
                        There is no encryption: keep other addresses than 127.0.0.1 within a network you trust
  -n, --no-nodelay      do not set TCP_NODELAY
  -f, --foreground      stay in front
      --adopt           DIR may hold files already: they are used where they are equal, and removed where the master
                        does not have them
      --state-dir DIR2  keep positions and spool there (DIR/.tdfs)
      --spool-limit N   bytes received and not applied before the master has to wait (4G)
      --delete-limit L  apply nothing more before a deletion too many, until tdfsctl resume: N/SECONDS, or P% of what DIR
                        holds within an hour, or P%/SECONDS (no limit)
      --tolerate N      where changes of up to N names cannot be applied (a broken disk, no rights, no space), go on with
                        all others, name them in the status and repair them once it works; else the replay waits (0)
      --apply-workers N for slow storage: apply changes of different files in parallel, N at once (1). Then DIR may be ahead of
                        the position in parts, and is exactly there whenever all that came is applied, and at each fsync
      --divergent-limit BYTES[:COUNT]
                        what somebody else changed in DIR is kept in DIR/.tdfs/divergent before it is overwritten or
                        removed, up to so much (1G:10000); beyond it that is not done until there is room. 0: keep nothing
      --keep-spool N    bytes to keep of what is applied already, for `tdfsctl log` (0)
      --config FILE     read options from this TOML file too; what stands here wins
      --log-file FILE   log there (syslog; with -f stderr)
      --log-level L     error, warn, info or debug (info)
  -h, --help            this text
      --version         the version

Exit status: 0 ended in order, 1 failed while running, 2 wrong command line, 3 refused to start.
)";

constexpr std::uint64_t kLeastSpool = 1 << 20;

Advice usage(const std::string& why) { return {"tdfs_slave: " + why + " (tdfs_slave -h shows how)", 2}; }

bool is_number(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_port(std::string_view text) {
    unsigned value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    return is_number(text) && parsed.ec == std::errc() && value <= 65535;
}

std::optional<KeepLimits> parse_divergent_limit(const std::string& text) {
    KeepLimits limits = SlaveOptions().divergent;
    const auto colon = text.find(':');
    const auto bytes = parse_size(text.substr(0, colon));
    if (!bytes) return std::nullopt;
    limits.bytes = *bytes;
    if (colon == std::string::npos) return limits;
    const std::string count = text.substr(colon + 1);
    const auto parsed = std::from_chars(count.data(), count.data() + count.size(), limits.objects);
    if (!is_number(count) || parsed.ec != std::errc() || limits.objects == 0) return std::nullopt;
    return limits;
}

cxxopts::Options definition() {
    cxxopts::Options options("tdfs_slave");
    const auto text = [] { return cxxopts::value<std::string>(); };
    options.add_options()                //
        ("m,directory", "", text())      //
        ("l,listen", "", text())         //
        ("n,no-nodelay", "")             //
        ("f,foreground", "")             //
        ("h,help", "")                   //
        ("version", "")                  //
        ("adopt", "")                    //
        ("state-dir", "", text())        //
        ("spool-limit", "", text())      //
        ("delete-limit", "", text())     //
        ("tolerate", "", text())         //
        ("apply-workers", "", text())    //
        ("divergent-limit", "", text())  //
        ("keep-spool", "", text())       //
        ("segment-bytes", "", text())    // for tests
        ("config", "", text())           //
        ("log-file", "", text())         //
        ("log-level", "", text());
    return options;
}

// Takes the values over; the text is what is wrong.
std::optional<std::string> fill(const cxxopts::ParseResult& given, SlaveOptions& o) {
    const auto text = [&](const char* name, std::string& into) {
        if (given.count(name) != 0) into = given[name].as<std::string>();
    };
    const auto size = [&](const char* name, std::uint64_t& into) -> std::optional<std::string> {
        if (given.count(name) == 0) return std::nullopt;
        const auto value = parse_size(given[name].as<std::string>());
        if (!value) return std::string("--") + name + " wants a number of bytes such as 500M or 4G";
        into = *value;
        return std::nullopt;
    };
    for (const char* once : {"m", "l", "state-dir", "delete-limit", "log-file", "log-level", "config"}) {
        if (given.count(once) > 1) return std::string("-") + once + " was given twice";
    }
    text("m", o.directory);
    text("state-dir", o.state_dir);
    text("log-file", o.log_file);
    text("log-level", o.log_level);
    o.nodelay = given.count("n") == 0;
    o.foreground = given.count("f") != 0;
    o.adopt = given.count("adopt") != 0;
    if (auto wrong = size("spool-limit", o.spool_limit_bytes)) return wrong;
    if (auto wrong = size("keep-spool", o.keep_spool_bytes)) return wrong;
    if (auto wrong = size("segment-bytes", o.segment_bytes)) return wrong;
    if (given.count("delete-limit") != 0) {
        o.delete_limit = parse_delete_limit(given["delete-limit"].as<std::string>());
        if (!o.delete_limit) {
            return "--delete-limit wants a number of deletions and seconds such as 1000/60, or a share such as 5% or "
                   "5%/600";
        }
    }
    if (given.count("tolerate") != 0) {
        const auto& names = given["tolerate"].as<std::string>();
        const auto parsed = std::from_chars(names.data(), names.data() + names.size(), o.tolerate);
        if (!is_number(names) || parsed.ec != std::errc() || o.tolerate > Healer::kMaxPaths) {
            return "--tolerate wants a number of names, at most " + std::to_string(Healer::kMaxPaths);
        }
    }
    if (given.count("apply-workers") != 0) {
        const auto& workers = given["apply-workers"].as<std::string>();
        const auto parsed = std::from_chars(workers.data(), workers.data() + workers.size(), o.apply_workers);
        if (!is_number(workers) || parsed.ec != std::errc() || o.apply_workers < 1 || o.apply_workers > kMostWorkers) {
            return "--apply-workers wants a number from 1 to " + std::to_string(kMostWorkers);
        }
    }
    if (given.count("divergent-limit") != 0) {
        const auto limit = parse_divergent_limit(given["divergent-limit"].as<std::string>());
        if (!limit) return "--divergent-limit wants a number of bytes, and of objects if you like: 1G or 500M:1000";
        o.divergent = *limit;
    }
    if (given.count("l") != 0) {
        const auto& where = given["l"].as<std::string>();
        const auto parsed = parse_listen_address(where);
        if (!parsed) return "-l " + where + " is no address: ADDR:PORT is wanted, such as 192.168.1.2:4710";
        o.address = parsed->address;
        o.port = parsed->port;
    }
    if (!given.unmatched().empty()) return "\"" + given.unmatched().front() + "\" is not understood";
    if (o.directory.empty()) return "-m DIR is missing: the directory that receives";
    constexpr std::array kLevels{"error", "warn", "info", "debug"};
    if (std::find(kLevels.begin(), kLevels.end(), o.log_level) == kLevels.end()) {
        return "--log-level is error, warn, info or debug";
    }
    if (o.spool_limit_bytes < kLeastSpool) return "--spool-limit is at least 1M";
    return std::nullopt;
}

}  // namespace

std::variant<SlaveOptions, Advice> parse_slave_options(int argc, const char* const* argv) {
    try {
        auto definitions = definition();
        const auto given = parse_with_config(definitions, argc, argv);
        if (given.count("help") != 0) return Advice{kHelp, 0};
        if (given.count("version") != 0) return Advice{"tdfs_slave " TDFS_VERSION "\n", 0};
        SlaveOptions options;
        if (const auto wrong = fill(given, options)) return usage(*wrong);
        return options;
    } catch (const std::exception& e) {
        std::string what = e.what();
        std::replace(what.begin(), what.end(), '\n', ' ');
        return usage(what);
    }
}

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
    const SlaveOptions defaults;
    ListenAddress found{defaults.address, defaults.port};
    if (text.empty()) return std::nullopt;
    if (text.front() == '[') {
        const auto end = text.find(']');
        if (end == std::string_view::npos || end == 1) return std::nullopt;
        found.address = text.substr(1, end - 1);
        text.remove_prefix(end + 1);
        if (text.empty()) return found;
        if (text.front() != ':' || !is_port(text.substr(1))) return std::nullopt;
        found.port = text.substr(1);
        return found;
    }
    const auto colons = std::count(text.begin(), text.end(), ':');
    if (colons == 0) {
        if (!is_number(text)) {
            found.address = text;
            return found;
        }
        if (!is_port(text)) return std::nullopt;
        found.port = text;
        return found;
    }
    if (colons > 1) {  // an IPv6 address alone
        found.address = text;
        return found;
    }
    const auto colon = text.find(':');
    if (!is_port(text.substr(colon + 1))) return std::nullopt;
    if (colon != 0) found.address = text.substr(0, colon);
    found.port = text.substr(colon + 1);
    return found;
}

}  // namespace tdfs

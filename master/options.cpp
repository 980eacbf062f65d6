#include "master/options.hpp"

#include <charconv>
#include <optional>

#include <cxxopts.hpp>

#include "common/control/human.hpp"
#include "common/daemon/config.hpp"
#include "master/mount.hpp"
#include "proto/frame.hpp"
#include "tdfs_config.hpp"

namespace tdfs {

namespace {
constexpr const char* kDefaultPort = "4710";
constexpr std::uint64_t kLongestAge = 3'153'600'000;  // a hundred years

// HOST, HOST:PORT, [V6], [V6]:PORT, or a bare IPv6 address.
std::optional<PublisherOptions::Target> parse_target(const std::string& text) {
    PublisherOptions::Target t{text, kDefaultPort};
    if (text.starts_with('[')) {
        const auto close = text.find(']');
        if (close == std::string::npos) return std::nullopt;
        t.host = text.substr(1, close - 1);
        const std::string rest = text.substr(close + 1);
        if (!rest.empty() && rest[0] != ':') return std::nullopt;
        if (!rest.empty()) t.port = rest.substr(1);
    } else if (const auto colon = text.find(':');
               colon != std::string::npos && text.find(':', colon + 1) == std::string::npos) {
        t.host = text.substr(0, colon);
        t.port = text.substr(colon + 1);
    }
    const bool digits = !t.port.empty() && t.port.find_first_not_of("0123456789") == std::string::npos;
    if (t.host.empty() || !digits || t.port.size() > 5 || std::stoul(t.port) == 0 || std::stoul(t.port) > 65535) {
        return std::nullopt;
    }
    return t;
}

Result<std::uint32_t, std::string> parse_writeback(const std::string& text) {
    constexpr std::uint32_t kLeastMs = 10, kMostMs = 60'000;
    std::uint32_t ms = 0;
    const auto end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, ms);
    if (parsed.ec != std::errc() || parsed.ptr != end || ms < kLeastMs || ms > kMostMs) {
        return Unexpected("--writeback takes milliseconds from " + std::to_string(kLeastMs) + " to " +
                          std::to_string(kMostMs) + ", not " + text);
    }
    return ms;
}

Advice usage(const std::string& what) { return {"tdfs: " + what + " (tdfs -h shows the options)", 2}; }
}  // namespace

std::variant<MasterOptions, Advice> parse_master_options(int argc, char** argv) {
    cxxopts::Options parser("tdfs",
                            "Makes one directory tree live on many machines: mounts DIR on MOUNTPOINT and "
                            "streams every change to the slaves.");
    parser.custom_help("-m DIR [-c HOST[:PORT]]... [-z 0|1] [-n] [-f] [OPTION...]");
    parser.positional_help("MOUNTPOINT");
    // clang-format off
    parser.add_options()
        ("m,directory", "the local directory that is distributed", cxxopts::value<std::string>(), "DIR")
        ("c,slave", "a slave to send to; give it again for more (port 4710 if none is given)",
         cxxopts::value<std::vector<std::string>>(), "HOST[:PORT]")
        ("z,compress", "0: send as it is, 1: LZF", cxxopts::value<int>()->default_value("0"), "0|1")
        ("n,no-nodelay", "switch TCP_NODELAY off")
        ("f,foreground", "stay in front")
        ("state-dir", "keep journal and state here (default: DIR/.tdfs)", cxxopts::value<std::string>(), "DIR")
        ("sync", "fsync returns once K slaves have everything before it: received, durable (on their disks; the default) "
         "or applied as well", cxxopts::value<std::string>(), "K[:LEVEL]")
        ("sync-timeout", "how long, and what then: degrade (go on without them, and say so) or block",
         cxxopts::value<std::string>()->default_value("10:degrade"), "SECONDS[:degrade|block]")
        ("writeback", "let the kernel keep what is written for at most about so many milliseconds (200): faster, and in order "
         "at close and fsync only", cxxopts::value<std::string>()->implicit_value("200"), "MS")
        ("stay-awake", "whether idle cores are kept from halting while requests come fast: on, off, or auto (on a virtual "
         "machine of at most 8 cores)", cxxopts::value<std::string>()->default_value("auto"), "on|off|auto")
        ("io-uring", "whether requests come over io_uring, which is faster: on, off, or auto (where the kernel has it switched on; "
         "not with --sync or --writeback)", cxxopts::value<std::string>()->default_value("auto"), "on|off|auto")
        ("retain-bytes", "how much history is kept for slaves that are away; one that falls further behind is resynced",
         cxxopts::value<std::uint64_t>()->default_value("4294967296"), "N")
        ("retain-age", "history that is older than this goes, whoever has not read it (default: no such limit)",
         cxxopts::value<std::uint64_t>(), "SECONDS")
        ("reserve", "bytes of its disk that the journal never takes: old history goes first, then changes are refused "
         "(ENOSPC) before they are done (default: 64 MiB, or 1 % of a disk that is smaller than 6.25 GiB)",
         cxxopts::value<std::uint64_t>(), "BYTES")
        ("segment-bytes", "size of a journal segment", cxxopts::value<std::uint64_t>()->default_value("67108864"), "N")
        ("allow-empty", "start although DIR is empty and was not when the volume was last used: empties the slaves")
        ("scrub", "inspect the slaves for ever, reading at most so many bytes a second on each side (as 10M)",
         cxxopts::value<std::string>(), "RATE")
        ("scrub-repair", "with --scrub: heal what differs, not only report it")
        ("config", "read options from this TOML file too; what stands here wins", cxxopts::value<std::string>(), "FILE")
        ("log-file", "log here (default: stderr with -f, else syslog)", cxxopts::value<std::string>(), "FILE")
        ("log-level", "error, warn, info or debug", cxxopts::value<std::string>()->default_value("info"), "LEVEL")
        ("fuse-debug", "print every FUSE request (with -f)")
        ("h,help", "this text")
        ("version", "version, and which features of FUSE are on");
    parser.add_options("hidden")("mountpoint", "", cxxopts::value<std::vector<std::string>>());
    // clang-format on
    parser.parse_positional({"mountpoint"});
    try {
        const auto parsed = parse_with_config(parser, argc, argv);
        if (parsed.count("help") > 0) return Advice{parser.help({""}), 0};
        if (parsed.count("version") > 0) {
            std::string text = std::string("tdfs ") + TDFS_VERSION + "\nlibfuse " + fuse_library_version();
            text += std::string("\nO_TMPFILE ") + (FuseFeatures::kTmpfile ? "on" : "off (needs libfuse 3.17)");
            text += std::string("\nkill-suid by the kernel's word ") +
                    (FuseFeatures::kKillSuidgid ? "on" : "off (needs libfuse 3.18)");
            text += std::string("\nstatx ") + (FuseFeatures::kStatx ? "on" : "off (needs libfuse 3.18)") + "\n";
            return Advice{text, 0};
        }
        MasterOptions o;
        if (parsed.count("directory") == 0) return usage("-m DIR is missing: which directory is to be distributed?");
        o.directory = parsed["directory"].as<std::string>();
        if (parsed.count("mountpoint") == 0) return usage("MOUNTPOINT is missing: where is the tree to be mounted?");
        const auto& points = parsed["mountpoint"].as<std::vector<std::string>>();
        if (points.size() != 1) return usage("one MOUNTPOINT is expected, not also " + points[1]);
        o.mountpoint = points[0];
        if (parsed.count("slave") > 0) {
            for (const std::string& text : parsed["slave"].as<std::vector<std::string>>()) {
                const auto target = parse_target(text);
                if (!target) return usage("-c " + text + " is not HOST or HOST:PORT");
                for (const auto& other : o.slaves) {
                    if (other.text() == target->text()) return usage("-c " + text + " is given twice");
                }
                o.slaves.push_back(*target);
            }
        }
        if (parsed.count("sync") > 0) {
            const auto fits = parse_sync(parsed["sync"].as<std::string>(), o.slaves.size(), o.sync);
            if (!fits) return usage(fits.error());
        } else if (parsed.count("sync-timeout") > 0) {
            return usage("--sync-timeout is about --sync K, which is missing");
        }
        if (const auto fits = parse_sync_timeout(parsed["sync-timeout"].as<std::string>(), o.sync); !fits) {
            return usage(fits.error());
        }
        if (parsed.count("writeback") > 0) {
            const auto ms = parse_writeback(parsed["writeback"].as<std::string>());
            if (!ms) return usage(ms.error());
            o.writeback_ms = *ms;
        }
        for (const auto& [name, choice] :
             {std::pair{"stay-awake", &o.stay_awake}, std::pair{"io-uring", &o.io_uring}}) {
            if (const auto& text = parsed[name].as<std::string>(); text == "on" || text == "off") {
                *choice = text == "on";
            } else if (text != "auto") {
                return usage(std::string("--") + name + " takes on, off or auto, not " + text);
            }
        }
        if (o.io_uring == true && !o.allows_io_uring()) {
            return usage("--io-uring on goes neither with --sync nor with --writeback");
        }
        const int z = parsed["compress"].as<int>();
        if (z != 0 && z != 1) return usage("-z takes 0 or 1, not " + std::to_string(z));
        o.compress = z == 1;
        o.nodelay = parsed.count("no-nodelay") == 0;
        o.foreground = parsed.count("foreground") > 0;
        o.allow_empty = parsed.count("allow-empty") > 0;
        o.fuse_debug = parsed.count("fuse-debug") > 0;
        if (parsed.count("state-dir") > 0) o.state_dir = parsed["state-dir"].as<std::string>();
        if (parsed.count("log-file") > 0) o.log_file = parsed["log-file"].as<std::string>();
        if (parsed.count("scrub") > 0) {
            const auto& text = parsed["scrub"].as<std::string>();
            const auto rate = parse_size(text);
            if (!rate || *rate == 0) return usage("--scrub takes bytes a second, as 500K or 10M, not " + text);
            o.scrub_rate = *rate;
        }
        o.scrub_repair = parsed.count("scrub-repair") > 0;
        if (o.scrub_repair && o.scrub_rate == 0) return usage("--scrub-repair needs --scrub RATE");
        o.log_level = parsed["log-level"].as<std::string>();
        o.retain_bytes = parsed["retain-bytes"].as<std::uint64_t>();
        if (parsed.count("retain-age") > 0) {
            o.retain_age = parsed["retain-age"].as<std::uint64_t>();
            if (o.retain_age == 0 || o.retain_age > kLongestAge) {
                return usage("--retain-age must be between 1 and " + std::to_string(kLongestAge) + " seconds");
            }
        }
        if (parsed.count("reserve") > 0) o.reserve_bytes = parsed["reserve"].as<std::uint64_t>();
        o.segment_bytes = parsed["segment-bytes"].as<std::uint64_t>();
        if (o.segment_bytes < 4 * kMaxFrameBytes || o.segment_bytes > (std::uint64_t{1} << 40)) {
            return usage("--segment-bytes must be between " + std::to_string(4 * kMaxFrameBytes) + " and 2^40");
        }
        if (o.retain_bytes < 2 * o.segment_bytes) {
            return usage("--retain-bytes must be at least two segments (" + std::to_string(2 * o.segment_bytes) + ")");
        }
        return o;
    } catch (const std::exception& e) {  // what cxxopts throws changed its name between the versions we build with
        return usage(e.what());
    }
}

}  // namespace tdfs

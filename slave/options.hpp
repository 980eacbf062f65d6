// The command line of tdfs_slave.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/control/human.hpp"
#include "common/resync/salvage.hpp"
#include "slave/delete_limit.hpp"

namespace tdfs {

struct SlaveOptions {
    std::string directory;              // -m
    std::string address = "127.0.0.1";  // -l
    std::string port = "4710";
    bool nodelay = true;  // -n switches it off
    bool foreground = false;
    bool adopt = false;
    std::string state_dir;
    std::string log_file;
    std::string log_level = "info";
    std::uint64_t spool_limit_bytes = 4ull << 30;
    std::uint64_t keep_spool_bytes = 0;
    std::uint64_t segment_bytes = 64ull << 20;
    std::size_t tolerate = 0;
    unsigned apply_workers = 1;
    KeepLimits divergent{1ull << 30, 10'000};
    std::optional<DeleteLimit> delete_limit;
};

// What to do instead of running: text to print (help, version: exit 0), or a line of advice (exit 2).
struct Advice {
    std::string text;
    int exit_status;
};

[[nodiscard]] std::variant<SlaveOptions, Advice> parse_slave_options(int argc, const char* const* argv);

struct ListenAddress {
    std::string address;
    std::string port;
};
// ADDR, ADDR:PORT, [ADDR]:PORT, :PORT or PORT; what is missing is as in SlaveOptions.
[[nodiscard]] std::optional<ListenAddress> parse_listen_address(std::string_view text);

}  // namespace tdfs

// The command line of tdfs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/stream/publisher.hpp"
#include "master/sync_policy.hpp"

namespace tdfs {

struct MasterOptions {
    std::string directory;  // -m
    std::string mountpoint;
    std::vector<PublisherOptions::Target> slaves;  // -c
    bool compress = false;                         // -z 1
    bool nodelay = true;                           // -n switches it off
    bool foreground = false;
    bool allow_empty = false;
    bool fuse_debug = false;
    std::string state_dir;
    std::string log_file;
    std::string log_level = "info";
    SyncPolicy sync;                 // --sync, --sync-timeout
    std::uint32_t writeback_ms = 0;  // 0: off
    std::uint64_t retain_bytes = 4ull << 30;
    std::uint64_t retain_age = 0;                // seconds; 0: no limit
    std::optional<std::uint64_t> reserve_bytes;  // not given: see Volume::reserve_bytes()
    std::uint64_t segment_bytes = 64ull << 20;
    // So much history may be on no disk, where nobody asks for it. Twice what is kept for short absences where segments are of the
    // ordinary size: while slaves keep up, history goes before it is written.
    std::uint64_t unsynced_segments = 8;
    std::optional<bool> stay_awake;  // not given: see StayAwake::worth_it()
    std::optional<bool> io_uring;    // not given: where it can be had
    // Who waits for slaves would keep a place in the ring. Where the kernel keeps what is written, a daemon that is killed would not
    // end: its thread that waits for that keeps the rings in its memory, and they keep the mount.
    [[nodiscard]] bool allows_io_uring() const { return !sync.on() && writeback_ms == 0; }
    std::uint64_t scrub_rate = 0;  // bytes a second; 0: off
    bool scrub_repair = false;
};

// What to do instead of running: text to print (help, version: exit 0), or a line of advice (exit 2).
struct Advice {
    std::string text;
    int exit_status;
};

[[nodiscard]] std::variant<MasterOptions, Advice> parse_master_options(int argc, char** argv);

}  // namespace tdfs

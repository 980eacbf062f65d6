// What the daemons' answer to {"cmd": "status"} holds, as values. Both daemons fill them in, tdfsctl prints them.
//
// Rates are bytes a second. Positions are "epoch in 16 hex digits:lsn" as parse_position reads them; single lsns are
// numbers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "proto/result.hpp"

namespace tdfs {

using Counters = std::map<std::string, std::uint64_t>;

struct ProgressStatus {
    std::uint64_t files_done = 0;
    std::uint64_t files_total = 0;
    std::uint64_t bytes_done = 0;
    std::uint64_t bytes_total = 0;
    bool counting = false;  // totals still grow
    std::uint32_t round = 0;
    double rate = 0;
};

struct SlaveRowStatus {
    std::string target;
    std::string name;                  // what the slave calls itself; "" until it has answered once
    std::string state = "connecting";  // connecting, refused, streaming, resyncing, stalled, paused
    std::string detail;
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::uint64_t durable = 0;
    std::uint64_t applied = 0;
    std::uint64_t lag_bytes = 0;
    std::uint64_t lag_records = 0;
    double lag_seconds = 0;
    std::uint64_t bytes_sent = 0;
    double send_rate = 0;
    double apply_rate = 0;
    std::uint64_t connects = 0;
    std::uint64_t resyncs = 0;
    std::uint64_t durable_acks = 0;
    double hold_ms = 0;
    std::uint64_t soft_errors = 0;   // records that went well when they were tried again
    std::uint64_t hard_errors = 0;   // records that did not apply, and differences that were found
    bool history_known = false;      // whether the following mean anything
    bool history_lost = false;       // what it has not read is not kept any more: it will be resynced
    std::uint64_t history_left = 0;  // so many more bytes, and it is
    std::uint64_t history_percent = 0;
    ProgressStatus progress;  // while resyncing
};

// Of the inspection that goes on for ever; a rate of 0: there is none.
struct ScrubStatus {
    std::uint64_t rate = 0;
    std::uint64_t passes = 0;       // over all slaves, since start
    std::uint64_t last_pass = 0;    // when the last one ended, in seconds since 1970; 0: none yet
    std::uint64_t differences = 0;  // found since start
    std::uint64_t healed = 0;
    std::string slave;  // being inspected
    std::string at;     // in this directory
    double share = 0;   // so much of it is done
};

// Of --sync on the master.
struct SyncStatus {
    std::uint64_t slaves = 0;  // that fsync waits for; 0: none, and all else is empty
    std::string level;         // received, durable, applied
    double timeout_seconds = 0;
    std::string late;               // what happens then: degrade, block
    std::string state;              // confirming, degraded, blocked
    double late_seconds = 0;        // how long it has not been confirming
    std::uint64_t confirmed = 0;    // the lsn before which enough slaves have everything
    std::uint64_t waiting = 0;      // requests, now
    std::uint64_t requests = 0;     // since the start, as all that follows
    std::uint64_t waves = 0;        // confirmations that let one or more of them go: round trips
    std::uint64_t unconfirmed = 0;  // answered without enough slaves
    std::uint64_t times_late = 0;   // how often it was degraded or blocked
    std::uint64_t given_up = 0;     // the application was killed while it waited
};

struct MasterStatus {
    std::string version;
    std::string volume;
    std::string epoch;
    std::string state = "running";  // or why writing does not go on ("read-only: ...")
    std::string position;
    std::uint64_t oldest = 0;
    std::uint64_t tail = 0;
    std::uint64_t durable = 0;
    std::uint64_t journal_bytes = 0;
    std::string mount;
    std::string directory;
    int compression = 0;
    std::uint64_t rss_anon = 0;
    std::uint64_t unsettled = 0;  // objects whose times are not recorded yet
    std::uint64_t retain_bytes = 0;
    std::uint64_t retain_age = 0;         // seconds; 0: no limit
    std::uint64_t reserve_bytes = 0;      // of the disk, that the journal leaves free
    std::uint64_t free_bytes = 0;         // there, now
    std::uint64_t given_up_segments = 0;  // of history, since the start, because the disk was full
    SyncStatus sync;
    Counters fuse;
    ScrubStatus scrub;
    std::vector<SlaveRowStatus> slaves;
};

struct SlaveStatus {
    std::string version;
    std::string volume;
    std::string epoch;
    std::string state = "fresh";  // fresh, streaming, resyncing, stalled, damaged, paused
    std::uint64_t received = 0;
    std::uint64_t durable = 0;
    std::uint64_t applied = 0;
    std::uint64_t spool_bytes = 0;
    std::string directory;
    std::string listen;
    bool connected = false;
    std::string master;
    std::uint64_t lag_bytes = 0;
    std::uint64_t lag_records = 0;
    double lag_seconds = 0;
    std::uint64_t applied_records = 0;
    std::uint64_t skipped_records = 0;
    std::uint64_t apply_workers = 1;  // more: the tree may hold parts of what comes after `applied`
    std::uint64_t soft_errors = 0;
    std::uint64_t hard_errors = 0;
    std::uint64_t divergent = 0;        // changes by others that were kept before they were overwritten
    std::uint64_t divergent_bytes = 0;  // that they take
    std::string divergent_refused;      // not empty: there is no room for more
    std::uint64_t rss_anon = 0;
    std::string last_error;
    ProgressStatus progress;  // while resyncing
    Counters counts;
};

// With "role" and "ok": true, so that it may be sent as the answer.
[[nodiscard]] nlohmann::json status_to_json(const MasterStatus& status);
[[nodiscard]] nlohmann::json status_to_json(const SlaveStatus& status);

// Fields that are missing or of another type keep their defaults: tdfsctl may be newer or older than the daemon. An
// error only where the role is not known.
[[nodiscard]] Result<std::variant<MasterStatus, SlaveStatus>, std::string> status_from_json(const nlohmann::json& json);

}  // namespace tdfs

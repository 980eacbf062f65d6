// Status as JSON and as text.
#include "common/control/status.hpp"

#include <nlohmann/json.hpp>

#include "common/control/render.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;

namespace {

MasterStatus master_sample() {
    MasterStatus s;
    s.version = "4.0.0";
    s.volume = "6f1b2c3d-0000-4000-8000-00000000abcd";
    s.epoch = "00c0ffee00c0ffee";
    s.position = "00c0ffee00c0ffee:73400320";
    s.oldest = 1024;
    s.tail = 73'400'320;
    s.durable = 73'000'000;
    s.journal_bytes = 70ULL << 20;
    s.mount = "/srv/data";
    s.directory = "/srv/data";
    s.compression = 1;
    s.rss_anon = 9ULL << 20;
    s.unsettled = 1;
    s.sync = {2, "durable", 10, "degrade", "degraded", 75, 72'000'000, 3, 10, 5, 4, 1, 0};
    s.fuse = {{"requests", 12}, {"errors", 0}};

    SlaveRowStatus streaming;
    streaming.target = "web1:4710";
    streaming.name = "web1:/srv/replica";
    streaming.state = "streaming";
    streaming.applied = 73'300'320;
    streaming.lag_bytes = 100'000;
    streaming.lag_records = 12;
    streaming.lag_seconds = 0.25;
    streaming.bytes_sent = 70ULL << 20;
    streaming.send_rate = 2.5 * (1 << 20);
    streaming.apply_rate = 2.25 * (1 << 20);
    s.slaves.push_back(streaming);

    SlaveRowStatus resyncing;
    resyncing.target = "backup.example.org:4710";
    resyncing.name = "backup:/tank/data";
    resyncing.state = "resyncing";
    resyncing.detail = "its position is not in the journal any more";
    resyncing.send_rate = 40 * (1 << 20);
    resyncing.bytes_sent = 3ULL << 30;
    resyncing.progress = {30, 120, 1ULL << 30, 4ULL << 30, true, 0, 40.0 * (1 << 20)};
    s.slaves.push_back(resyncing);

    SlaveRowStatus away;
    away.target = "[2001:db8::1]:4710";
    away.detail = "connect: Connection refused";
    s.slaves.push_back(away);
    return s;
}

}  // namespace

TEST_CASE("the status of a master is a table for people") {
    CHECK(render(master_sample()) ==
          R"(master of volume 6f1b2c3d-0000-4000-8000-00000000abcd (tdfs 4.0.0)
  directory   /srv/data
  mount       /srv/data
  state       running
  epoch       00c0ffee00c0ffee
  position    00c0ffee00c0ffee:73400320
  journal     70 MiB, lsn 1024 to 73400320, durable to 73000000, compressed
  sync        2 slaves durable, degraded for 1 min 15 s, 3 waiting, 4 of 10 fsyncs not confirmed
  unsettled   1 object
  memory      9.0 MiB
  fuse        requests 12

  SLAVE                    STATE       BEHIND  RECORDS    AGE    SENDING   APPLYING     SENT  NAME
  web1:4710                streaming   98 KiB       12  0.2 s  2.5 MiB/s  2.2 MiB/s   70 MiB  web1:/srv/replica
  backup.example.org:4710  resyncing        -        -      -   40 MiB/s          -  3.0 GiB  backup:/tank/data
    round 0 [#####...............] 25 %, 1.0 GiB of 4.0 GiB, 30 of 120 files so far, 40 MiB/s, 1 min 17 s left at least
    its position is not in the journal any more
  [2001:db8::1]:4710       connecting       -        -      -          -          -      0 B
    connect: Connection refused
)");
}

TEST_CASE("the status of a slave is one fact a line") {
    SlaveStatus s;
    s.version = "4.0.0";
    s.volume = "6f1b2c3d-0000-4000-8000-00000000abcd";
    s.epoch = "00c0ffee00c0ffee";
    s.state = "stalled";
    s.received = 2000;
    s.durable = 1900;
    s.applied = 1000;
    s.spool_bytes = 4096;
    s.directory = "/srv/replica";
    s.listen = "127.0.0.1:4710";
    s.connected = true;
    s.master = "web0:/srv/data";
    s.lag_bytes = 1000;
    s.lag_records = 1;
    s.lag_seconds = 75;
    s.applied_records = 40;
    s.rss_anon = 5ULL << 20;
    s.last_error = "write a/b: No space left on device";
    CHECK(render(s) == R"(slave of volume 6f1b2c3d-0000-4000-8000-00000000abcd (tdfs 4.0.0)
  directory   /srv/replica
  listening   127.0.0.1:4710
  master      web0:/srv/data, connected
  state       stalled
  position    00c0ffee00c0ffee:1000
  behind      1000 B, 1 record, 1 min 15 s
  received    lsn 2000, durable to 1900
  spool       4.0 KiB
  records     40 applied, 0 skipped
  memory      5.0 MiB
  last error  write a/b: No space left on device
)");
}

TEST_CASE("a journal of which nothing has been synced says so instead of naming what is gone") {
    MasterStatus s = master_sample();
    s.durable = s.oldest;
    CHECK_THAT(render(s), ContainsSubstring("durable to " + std::to_string(s.oldest)));
    s.oldest = s.durable + 1;
    CHECK_THAT(render(s), ContainsSubstring(", not synced") && !ContainsSubstring("durable to"));
}

TEST_CASE("a slave with several workers says that its files may be ahead of its position") {
    SlaveStatus s;
    CHECK_THAT(render(s), !ContainsSubstring("workers"));
    s.apply_workers = 4;
    CHECK_THAT(render(s), ContainsSubstring("workers     4: files may be ahead of the position"));
    CHECK_THAT(status_to_json(s).dump(), ContainsSubstring("\"apply_workers\":4"));
}

TEST_CASE("a fresh slave and a master without slaves have a status, too") {
    CHECK_THAT(render(SlaveStatus()), ContainsSubstring("state       fresh") && ContainsSubstring("not connected"));
    CHECK_THAT(render(MasterStatus()), ContainsSubstring("no slaves"));
}

TEST_CASE("a slave that falls out of history and a disk that is full are said in words") {
    MasterStatus s;
    s.free_bytes = 40ULL << 20;
    s.reserve_bytes = 64ULL << 20;
    SlaveRowStatus& slave = s.slaves.emplace_back();
    slave.history_known = true;
    slave.history_percent = 49;
    slave.history_left = 1ULL << 20;
    CHECK_THAT(render(s),
               ContainsSubstring("disk        40 MiB free, 64 MiB reserved") && !ContainsSubstring("history that is"));
    slave.history_percent = 80;
    CHECK_THAT(render(s), ContainsSubstring("falls out of the history that is kept in 1.0 MiB (80 % used)"));
    slave.history_lost = true;
    slave.history_percent = 100;
    CHECK_THAT(render(s), ContainsSubstring("has fallen out of the history that is kept: will be resynced"));
}

TEST_CASE("what comes over the network cannot write to the terminal") {
    MasterStatus s;
    s.slaves.emplace_back();
    s.slaves[0].name = "\033[2Jevil\nname";
    s.slaves[0].detail = "two\nlines\r";
    const auto text = render(s);
    CHECK(text.find('\033') == std::string::npos);
    CHECK(text.find('\r') == std::string::npos);
    CHECK_THAT(text, ContainsSubstring("\\x1b[2Jevil\\x0aname"));
}

TEST_CASE("absurd numbers are shown and do no harm") {
    MasterStatus s;
    s.slaves.emplace_back();
    s.slaves[0].state = "resyncing";
    s.slaves[0].progress = {~0ULL, 1, ~0ULL, 1, false, ~0U, 1e300};
    CHECK_THAT(render(s), ContainsSubstring("100 %"));
    s.slaves[0].progress = {};
    CHECK_THAT(render(s), ContainsSubstring("0 %"));
}

TEST_CASE("a status comes back from its JSON as it went in") {
    const auto master = master_sample();
    const auto object = json::parse(status_to_json(master).dump());
    CHECK(object["role"] == "master");
    CHECK(object["ok"] == true);
    CHECK(object["slaves"][1]["progress"]["files_total"] == 120);
    const auto back = status_from_json(object);
    REQUIRE(back);
    REQUIRE(std::holds_alternative<MasterStatus>(*back));
    CHECK(render(std::get<MasterStatus>(*back)) == render(master));
    CHECK(status_to_json(std::get<MasterStatus>(*back)) == object);

    SlaveStatus slave;
    slave.received = ~0ULL;
    slave.lag_seconds = 1.5;
    slave.connected = true;
    slave.counts = {{"write", 7}};
    slave.progress.round = 3;
    const auto slave_object = status_to_json(slave);
    const auto slave_back = status_from_json(slave_object);
    REQUIRE(slave_back);
    CHECK(status_to_json(std::get<SlaveStatus>(*slave_back)) == slave_object);
}

TEST_CASE("a status of another version is read as far as it is understood") {
    const auto back = status_from_json({{"role", "slave"},
                                        {"new field", 1},
                                        {"applied", "text"},
                                        {"received", 5},
                                        {"lag_bytes", -5},
                                        {"progress", 7},
                                        {"counts", {{"a", "b"}, {"c", 3}}}});
    REQUIRE(back);
    const auto& slave = std::get<SlaveStatus>(*back);
    CHECK(slave.applied == 0);
    CHECK(slave.received == 5);
    CHECK(slave.lag_bytes == 0);
    CHECK(slave.counts == Counters{{"c", 3}});
    CHECK_FALSE(status_from_json({{"role", "king"}}));
    CHECK_FALSE(status_from_json(json::array()));
    CHECK(status_from_json({{"role", "master"}, {"slaves", json::array({1, "x"})}}));
}

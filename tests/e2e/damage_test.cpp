// Flipped bits, missing and cut files in what the daemons keep: found, said, made good without a hand, never applied.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <thread>

#include "tests/e2e/harness/cluster.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/e2e/storm/storm.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;
namespace fs = std::filesystem;

namespace {

// How many bits are flipped: TDFS_FLIPS for a long run.
std::size_t flips(std::size_t usual) {
    const char* text = std::getenv("TDFS_FLIPS");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : scaled(usual, 4);
}

constexpr int kTwins = 3;

bool is_odd(char c) { return __builtin_parity(static_cast<unsigned char>(c)) != 0; }

// Content that a comparison of sizes and times would take for the same: always as long, always as old. Each byte has an even
// number of bits, so that one flipped bit shows in whichever mixture of old and new a reader may see.
void write_twin(const std::string& path, std::mt19937_64& random) {
    std::string text(4000, '\0');
    for (char& c : text) {
        c = static_cast<char>(random());
        if (is_odd(c)) {
            c = static_cast<char>(c ^ 1);
        }
    }
    const int file = open(path.c_str(), O_WRONLY | O_CREAT, 0644);
    REQUIRE(file >= 0);
    REQUIRE(pwrite(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    const timespec times[2] = {{1'000'000, 0}, {1'000'000, 0}};
    REQUIRE(futimens(file, times) == 0);
    REQUIRE(close(file) == 0);
}

// Reads the twins of a replica all the time: no byte that the master never wrote may be seen, however short. More cannot be
// asked of a single look: a reader meets writes half done, and a resync makes files equal block by block, in no order.
class Watcher {
  public:
    explicit Watcher(std::string replica) : replica_(std::move(replica)), thread_([this] { work(); }) {}
    ~Watcher() {
        stop_ = true;
        thread_.join();
    }
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;
    [[nodiscard]] std::uint64_t wrong() const { return wrong_; }
    [[nodiscard]] std::uint64_t looks() const { return looks_; }

  private:
    void work() {
        while (!stop_) {
            for (int i = 0; i < kTwins; i++) {
                const std::string seen = read_file(replica_ + "/twin" + std::to_string(i));
                wrong_ += static_cast<std::uint64_t>(std::count_if(seen.begin(), seen.end(), is_odd));
            }
            looks_++;
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
    }

    const std::string replica_;
    std::atomic<bool> stop_{false};
    std::atomic<std::uint64_t> wrong_{0}, looks_{0};
    std::thread thread_;
};

class Damage {
  public:
    Damage() : seed_(seed_for("damage")), random_(seed_) {
        REQUIRE(mkdir((cluster.mount() + "/storm").c_str(), 0777) == 0);
        change();
        cluster.drain();
    }

    void change() {
        for (int i = 0; i < kTwins; i++) {
            write_twin(cluster.mount() + "/twin" + std::to_string(i), random_);
        }
        Storm storm(cluster.mount() + "/storm", {.seed = random_(), .threads = 2, .operations = 20});
        storm.wait();
        REQUIRE(storm.surprises() == "");
    }

    // Some file of the daemon's state that holds something.
    std::string pick(const std::string& dir) {
        std::vector<std::string> files;
        for (const auto& entry : fs::recursive_directory_iterator(dir + "/.tdfs")) {
            if (entry.is_regular_file() && entry.file_size() > 0 && entry.path().parent_path().filename() != "stage" &&
                entry.path().filename() != "spare") {
                files.push_back(entry.path());
            }
        }
        std::sort(files.begin(), files.end());
        return files.at(random_() % files.size());
    }

    // Flips a bit where there is something; in a mapped file, which is mostly zeros, near its beginning.
    std::string flip(const std::string& path) {
        const int file = open(path.c_str(), O_RDWR);
        REQUIRE(file >= 0);
        std::vector<char> bytes(fs::file_size(path));
        REQUIRE(pread(file, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
        std::size_t end = bytes.size();
        while (end > 1 && bytes[end - 1] == 0) {
            end--;
        }
        const std::size_t at = random_() % end;
        const char flipped = static_cast<char>(bytes[at] ^ (1 << (random_() % 8)));
        REQUIRE(pwrite(file, &flipped, 1, static_cast<off_t>(at)) == 1);
        close(file);
        return path.substr(cluster.scratch().size() + 1) + " byte " + std::to_string(at);
    }

    void check() {
        cluster.wait_streaming();
        cluster.drain();
        REQUIRE(cluster.differences() == "");
        REQUIRE(watcher_.wrong() == 0);
    }

    std::size_t random(std::size_t below) { return random_() % below; }

    Cluster cluster{{.master_args = {"--segment-bytes", "8388800"}, .slave_args = {"--segment-bytes", "8388800"}}};

  private:
    const std::uint64_t seed_;
    std::mt19937_64 random_;
    Watcher watcher_{cluster.replica()};
};

}  // namespace

TEST_CASE("a bit flipped anywhere in what a slave keeps is never applied and made good") {
    Damage d;
    std::map<std::string, int> hit;
    for (std::size_t n = flips(16); n > 0; n--) {
        REQUIRE(slave_ctl(d.cluster, "pause").status == 0);
        d.change();
        const auto tail = d.cluster.master_status().at("tail").get<std::uint64_t>();
        REQUIRE(eventually([&] { return d.cluster.slave_status().at("received").get<std::uint64_t>() >= tail; }));
        const std::size_t how = d.random(3);
        if (how == 0) {
            d.cluster.stop_slave();
        } else if (how == 1) {
            d.cluster.kill_slave();
        }
        const std::string file = d.pick(d.cluster.replica());
        const std::string where = d.flip(file);
        INFO(where << (how == 0 ? ", stopped" : how == 1 ? ", killed" : ", running"));
        hit[fs::path(file).filename().extension() == ".seg" ? "segment" : fs::path(file).filename().string()]++;
        if (how != 2) {
            d.cluster.start_slave();
        }
        REQUIRE(slave_ctl(d.cluster, "resume").status == 0);
        d.check();
        if (how == 2) {  // what it does not look at while it runs is found at the next start, before the next damage
            d.cluster.stop_slave();
            d.cluster.start_slave();
            REQUIRE(slave_ctl(d.cluster, "resume").status == 0);
            d.check();
        }
    }
    for (const auto& [name, count] : hit) {
        std::cout << "flipped in " << name << ": " << count << std::endl;
    }
}

TEST_CASE("a bit flipped anywhere in what a master keeps never reaches a replica and is made good") {
    Damage d;
    std::map<std::string, int> hit;
    for (std::size_t n = flips(12); n > 0; n--) {
        const bool slave_behind = d.random(2) == 0;
        if (slave_behind) {
            d.cluster.stop_slave();
        }
        d.change();
        const std::size_t how = d.random(3);
        if (how == 0) {
            d.cluster.stop_master();
        } else if (how == 1) {
            d.cluster.kill_master();
        }
        const std::string file = d.pick(d.cluster.backing());
        const std::string where = d.flip(file);
        INFO(where << (how == 0 ? ", stopped" : how == 1 ? ", killed" : ", running"));
        hit[fs::path(file).filename().extension() == ".seg" ? "segment" : fs::path(file).filename().string()]++;
        if (how != 2) {
            d.cluster.start_master();
        }
        if (slave_behind) {
            d.cluster.start_slave();
        }
        d.change();
        d.check();
        if (how == 2) {
            d.cluster.stop_master();
            d.cluster.start_master();
            d.check();
        }
    }
    for (const auto& [name, count] : hit) {
        std::cout << "flipped in " << name << ": " << count << std::endl;
    }
}

TEST_CASE("missing and cut segments and state files are made good on either side") {
    Damage d;
    for (const bool master : {false, true}) {
        const std::string dir = master ? d.cluster.backing() : d.cluster.replica();
        for (const std::string what : {"segments", "cut", "journal", "marks", "applied", "inflight", "settled"}) {
            INFO((master ? "master: " : "slave: ") << what);
            REQUIRE(slave_ctl(d.cluster, "pause").status == 0);
            d.change();
            master ? d.cluster.stop_master() : d.cluster.stop_slave();
            const fs::path state = dir + "/.tdfs";
            for (const auto& entry : fs::directory_iterator(state / "journal")) {
                if (entry.path().extension() != ".seg") {
                    continue;
                }
                if (what == "segments") {
                    fs::remove(entry.path());
                } else if (what == "cut") {
                    fs::resize_file(entry.path(), 1000);
                }
            }
            if (what == "journal") {
                fs::remove_all(state / "journal");
            }
            fs::remove(state / "journal" / what);
            fs::remove(state / what);
            master ? d.cluster.start_master() : d.cluster.start_slave();
            d.change();
            REQUIRE(slave_ctl(d.cluster, "resume").status == 0);
            d.check();
        }
    }
}

TEST_CASE("the slave says which file of its spool is damaged, and where") {
    Damage d;
    REQUIRE(slave_ctl(d.cluster, "pause").status == 0);
    const auto before = d.cluster.slave_status().at("received").get<std::uint64_t>();
    d.change();
    const auto tail = d.cluster.master_status().at("tail").get<std::uint64_t>();
    REQUIRE(eventually([&] { return d.cluster.slave_status().at("received").get<std::uint64_t>() >= tail; }));
    d.cluster.stop_slave();
    std::string segment;
    for (const auto& entry : fs::directory_iterator(d.cluster.replica() + "/.tdfs/journal")) {
        if (entry.path().extension() == ".seg") {
            segment = std::max(segment, entry.path().string());
        }
    }
    const auto first = std::stoull(fs::path(segment).stem().string(), nullptr, 16);
    std::fstream file(segment, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(before - first + 50));
    file.put('\xee');
    file.close();
    d.cluster.start_slave();
    REQUIRE(slave_ctl(d.cluster, "resume").status == 0);
    d.check();
    const std::string log = d.cluster.slave_log();
    CHECK(log.find("spool at lsn " + std::to_string(before) + " (" + fs::path(segment).filename().string() + " at " +
                   std::to_string(before - first) + ")") != std::string::npos);
    CHECK(d.cluster.slave_status().at("resync_reason").get<std::string>().find("damaged") != std::string::npos);
}

// What a real network does, under a storm: packets get lost, the cable is pulled, a peer vanishes without a word,
// connections are reset, the line is slow. Afterwards the replica is equal, by its position: no resync.

#include <cstdlib>
#include <iostream>

#include "tests/e2e/harness/scale.hpp"
#include "tests/faults/support/cable.hpp"
#include "tests/faults/support/faulted.hpp"
#include "tests/support/catch.hpp"

using namespace tdfs::e2e;
using namespace tdfs::faults;

namespace {

constexpr std::size_t kBetweenChecks = 20;
constexpr int kSkipped = 77;

void skip_where_it_cannot_be() {
    static const std::string why = Cable::impossible();
    if (why.empty()) {
        return;
    }
    std::cout << "skipped: no network namespaces here: " << why << std::endl;
    std::exit(kSkipped);
}

struct Network {
    Network() {
        cluster.start_slave_with(slave_command());
        Words master = cluster.master_command();
        for (std::string& word : master) {
            word = over_the_cable(word);
        }
        cluster.launch_master_with(master);
        cluster.await_master();
        cluster.wait_streaming();
    }
    Words slave_command() const {
        Words words = cluster.slave_command();
        for (std::string& word : words) {
            word = over_the_cable(word);
        }
        return cable.there(words);
    }
    std::string over_the_cable(const std::string& word) const {
        return word == "127.0.0.1:" + std::to_string(cluster.slave_port())
                   ? cable.far_address() + ":" + std::to_string(cluster.slave_port())
                   : word;
    }
    // The master's view of the one slave.
    nlohmann::json slave() const { return cluster.master_status().at("slaves").at(0); }
    void until_lost() const {
        REQUIRE(eventually([&] { return slave().at("state") != "streaming"; }));
    }

    Cable cable;
    Cluster cluster{{.start = false}};
};

template <class Fault>
void again_and_again(std::size_t times, Fault fault) {
    skip_where_it_cannot_be();
    Network net;
    Faulted faulted(net.cluster, seed_for("netns"), 2);
    for (std::size_t n = 0; n < times; n++) {
        faulted.weather();
        fault(net, faulted);
        net.cable.heal();
        faulted.streaming_since(Clock::now());
        if ((n + 1) % kBetweenChecks == 0) {
            faulted.check_equal();
        }
    }
    faulted.check_equal();
    std::cout << faulted.summary() << std::endl;
}

}  // namespace

TEST_CASE("lost packets only make it slower") {
    again_and_again(count_of(2), [](Network& net, Faulted& faulted) {
        net.cable.drop(5 + static_cast<unsigned>(faulted.below(20)));
        faulted.weather(std::chrono::seconds(3));
    });
}

TEST_CASE("a cable that is pulled and put back costs nothing but time") {
    again_and_again(count_of(2), [](Network& net, Faulted& faulted) {
        net.cable.pull();
        faulted.weather(std::chrono::seconds(2));
    });
}

TEST_CASE("a cable that stays out ends the connection, and it is resumed") {
    again_and_again(count_of(1), [](Network& net, Faulted&) {
        net.cable.pull();
        net.until_lost();
    });
}

TEST_CASE("a slave that vanishes without a word is given up, and resumes") {
    again_and_again(count_of(1), [](Network& net, Faulted&) {
        net.cable.drop(100);
        net.cluster.kill_slave();
        net.until_lost();
        net.cable.heal();
        net.cluster.start_slave_with(net.slave_command());
    });
}

TEST_CASE("connections that are reset are made anew") {
    again_and_again(count_of(2), [n = 0](Network& net, Faulted& faulted) mutable {
        if (n++ % 2 == 0) {
            net.cable.kill_connections();
        } else {
            net.cable.reset();
            net.until_lost();
        }
        faulted.weather();
    });
}

TEST_CASE("a slow line lags behind and catches up") {
    again_and_again(count_of(1), [](Network& net, Faulted& faulted) {
        net.cable.limit(500 + static_cast<unsigned>(faulted.below(4000)));
        faulted.weather(std::chrono::seconds(4));
    });
}

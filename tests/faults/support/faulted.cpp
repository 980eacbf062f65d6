#include "tests/faults/support/faulted.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <sstream>
#include <thread>

#include "tests/e2e/harness/scale.hpp"
#include "tests/support/catch.hpp"

namespace tdfs::faults {

std::size_t count_of(std::size_t short_form) {
    const char* text = std::getenv("TDFS_FAULTS_COUNT");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : short_form;
}

std::vector<std::size_t> resyncs_of(const e2e::Cluster& cluster) {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < cluster.slaves(); i++) {
        const std::string log = cluster.slave_log(i);
        std::size_t count = 0;
        for (auto at = log.find("resync begins"); at != std::string::npos; at = log.find("resync begins", at + 1)) {
            count++;
        }
        found.push_back(count);
    }
    return found;
}

Faulted::Faulted(e2e::Cluster& cluster, std::uint64_t seed, unsigned threads)
    : cluster_(cluster), seed_(seed), threads_(threads), random_(seed), root_(cluster.mount() + "/storm") {
    REQUIRE(mkdir(root_.c_str(), 0777) == 0);
    REQUIRE(chmod(root_.c_str(), 0777) == 0);
    cluster_.drain();
    resyncs_before_ = resyncs_of(cluster_);
    begin_storm();
}

void Faulted::begin_storm() {
    storm_ = std::make_unique<e2e::Storm>(
        root_, e2e::StormOptions{.seed = seed_ + storms_, .threads = threads_, .may_fail = true});
    storms_++;
}

void Faulted::weather(std::chrono::microseconds limit) {
    const auto most = static_cast<std::size_t>(limit.count());
    std::this_thread::sleep_for(std::chrono::microseconds(below(below(most) + 1)));
}

void Faulted::check_equal() {
    const std::uint64_t more = storm_->done_by_slowest() + 10;
    INFO("storm " << storms_ << ", seed " << seed_ << ", after " << restarts_ << " restarts");
    REQUIRE(e2e::eventually([&] { return storm_->done_by_slowest() >= more; }));
    storm_->stop();
    operations_ += storm_->done();
    CHECK(storm_->surprises() == "");
    cluster_.wait_streaming();
    cluster_.drain();
    CHECK(cluster_.differences() == "");
    CHECK((resyncs_allowed_ || resyncs_of(cluster_) == resyncs_before_));
    compared_++;
    begin_storm();
}

void Faulted::streaming_since(Clock::time_point restart) {
    cluster_.wait_streaming();
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - restart);
    longest_ = std::max(longest_, took);
    all_ += took;
    restarts_++;
}

std::string Faulted::summary() const {
    std::ostringstream text;
    text << restarts_ << " restarts, " << operations_ << " operations, compared " << compared_
         << " times; from restart to streaming: " << longest_.count() << " ms at most, "
         << all_.count() / static_cast<long>(std::max<std::size_t>(restarts_, 1)) << " ms on average";
    return text.str();
}

}  // namespace tdfs::faults

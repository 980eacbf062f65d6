#include "tests/e2e/harness/cluster.hpp"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <exception>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "tests/e2e/harness/failures.hpp"
#include "tests/e2e/harness/scale.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/tree_compare.hpp"

namespace tdfs::e2e {
namespace {

std::string last_lines(const std::string& text, std::size_t lines) {
    std::size_t at = text.size();
    for (std::size_t n = 0; n <= lines && at != std::string::npos && at > 0; n++) {
        at = text.rfind('\n', at - 1);
    }
    return at == std::string::npos || at == 0 ? text : text.substr(at + 1);
}

// State letter of a process as /proc gives it ('T': stopped), of all its threads.
bool stands_still(pid_t pid) {
    const Ran threads = run({"sh", "-c", "cat /proc/\"$1\"/task/*/stat", "sh", std::to_string(pid)});
    std::istringstream lines(threads.out);
    for (std::string line; std::getline(lines, line);) {
        const std::size_t name_end = line.rfind(')');
        if (name_end == std::string::npos || line.compare(name_end, 3, ") T") != 0) {
            return false;
        }
    }
    return true;
}

nlohmann::json status_of(const std::string& dir) {
    const Ran ran = run({program("tdfsctl"), "-m", dir, "--json", "status"});
    if (ran.status != 0) {
        throw std::runtime_error("tdfsctl status " + dir + " ended with " + std::to_string(ran.status) + ": " +
                                 ran.err);
    }
    return nlohmann::json::parse(ran.out);
}

}  // namespace

std::string sanitizer_report(const std::string& log) {
    for (const char* sign : {"ERROR: AddressSanitizer", "WARNING: ThreadSanitizer", "FATAL: ThreadSanitizer",
                             "ERROR: LeakSanitizer", "runtime error: "}) {
        const std::size_t at = log.find(sign);
        if (at != std::string::npos) {
            return log.substr(at, 8000);
        }
    }
    return "";
}

std::uint64_t lsn_of(const nlohmann::json& value) {
    if (value.is_number()) {
        return value.get<std::uint64_t>();
    }
    const auto text = value.get<std::string>();
    return std::stoull(text.substr(text.rfind(':') + 1), nullptr, 16);
}

Cluster::Cluster(const ClusterOptions& options) : options_(options), exceptions_(std::uncaught_exceptions()) {
    backing_ = scratch_.dir("master");
    mount_ = options.over ? backing_ : scratch_.dir("mount");
    plain_ = scratch_.dir("plain");
    for (std::size_t i = 0; i < options.slaves; i++) {
        Slave slave;
        slave.dir = scratch_.dir("slave" + std::to_string(i));
        slave.log = scratch() + "/slave" + std::to_string(i) + ".log";
        slave.port = free_port();
        if (options.links) {
            slave.link = std::make_unique<Link>(slave.port);
        }
        slaves_.push_back(std::move(slave));
    }
    if (options.start) {
        try {
            start_all();
        } catch (...) {
            show_logs();
            end_all();
            throw;
        }
    }
}

Cluster::~Cluster() {
    const bool thrown = std::uncaught_exceptions() > exceptions_;
    std::vector<std::string> wrong;
    try {
        wrong = complaints();
        if (!thrown && master_wanted_ && master_.running()) {
            stop_master();
        }
        for (std::size_t i = 0; i < slaves_.size() && !thrown; i++) {
            if (slaves_[i].wanted && slaves_[i].process.running()) {
                thaw_slave(i);
                stop_slave(i);
            }
        }
        const std::vector<std::string> at_end = complaints();
        wrong.insert(wrong.end(), at_end.begin(), at_end.end());
    } catch (const std::exception& e) {
        wrong.emplace_back(e.what());
    }
    end_all();
    if (thrown || test_case_failed() || !wrong.empty()) {
        show_logs();
    }
    for (const std::string& text : wrong) {
        if (thrown) {
            std::cout << text << std::endl;
        } else {
            UNSCOPED_INFO(text);
        }
    }
    if (!thrown) {
        CHECK(wrong.empty());
    }
}

std::vector<std::string> Cluster::complaints() {
    std::vector<std::string> found;
    const auto look = [&](const std::string& name, const std::string& log, bool wanted, Process& process) {
        if (const std::string report = sanitizer_report(log); !report.empty()) {
            found.push_back(name + ": " + report);
        }
        if (wanted && !process.running()) {
            found.push_back(name + " died: " + std::to_string(process.wait(std::chrono::milliseconds(0)).value_or(-1)));
        }
    };
    look("master", master_log(), master_wanted_, master_);
    for (std::size_t i = 0; i < slaves_.size(); i++) {
        look("slave" + std::to_string(i), slave_log(i), slaves_[i].wanted, slaves_[i].process);
    }
    return found;
}

void Cluster::end_all() {
    master_.kill();
    while (mounted() && umount2(mount_.c_str(), MNT_DETACH) == 0) {
    }
    for (Slave& slave : slaves_) {
        slave.process.kill();
        slave.link.reset();
    }
}

void Cluster::show_logs() const {
    const auto show = [](const std::string& name, const std::string& log) {
        std::cout << "---- " << name << "\n" << last_lines(log, 60) << std::endl;
    };
    show("master", master_log());
    for (std::size_t i = 0; i < slaves_.size(); i++) {
        show("slave" + std::to_string(i), slave_log(i));
    }
}

std::string Cluster::target(std::size_t i) const {
    const Slave& slave = slaves_.at(i);
    return "127.0.0.1:" + std::to_string(slave.link ? slave.link->port() : slave.port);
}

Words Cluster::master_command() const {
    Words words{program("tdfs"), "-f", "-m", backing_, "-z", options_.compress ? "1" : "0"};
    for (std::size_t i = 0; i < slaves_.size(); i++) {
        words.insert(words.end(), {"-c", target(i)});
    }
    words.insert(words.end(), options_.master_args.begin(), options_.master_args.end());
    words.push_back(mount_);
    return words;
}

Words Cluster::slave_command(std::size_t i) const {
    const Slave& slave = slaves_.at(i);
    Words words{program("tdfs_slave"), "-f", "-m", slave.dir, "-l", "127.0.0.1:" + std::to_string(slave.port)};
    words.insert(words.end(), options_.slave_args.begin(), options_.slave_args.end());
    return words;
}

Ran Cluster::ctl(const Words& words) const {
    Words command{program("tdfsctl"), "-m", backing_};
    command.insert(command.end(), words.begin(), words.end());
    return run(command, "", patience() + std::chrono::seconds(30));
}

Ran slave_ctl(const Cluster& cluster, const std::string& command, std::size_t i) {
    return run({program("tdfsctl"), "-m", cluster.replica(i), command});
}

bool Cluster::mounted() const {
    std::ifstream mounts("/proc/self/mounts");
    for (std::string device, at, type, rest; mounts >> device >> at >> type && std::getline(mounts, rest);) {
        if (at == mount_) {
            return true;
        }
    }
    return false;
}

void Cluster::start_all() {
    for (std::size_t i = 0; i < slaves_.size(); i++) {
        start_slave(i);
    }
    start_master();
    wait_streaming();
}

void Cluster::start_master() {
    launch_master();
    await_master();
}

void Cluster::launch_master_with(const Words& command) {
    master_ = Process::start(command, scratch() + "/master.log");
    master_wanted_ = true;
}

bool Cluster::await_master_or_end() {
    // A dead mount of a killed master still stands in the list of mounts: only the new daemon's answer counts.
    if (!eventually([&] { return !master_.running() || (mounted() && ctl({"status"}).status == 0); })) {
        throw std::runtime_error("the master did not get ready");
    }
    return master_.running();
}

void Cluster::await_master() {
    if (!await_master_or_end()) {
        throw std::runtime_error("the master ended at its start");
    }
}

void Cluster::start_slave_with(const Words& command, std::size_t i) {
    launch_slave_with(command, i);
    await_slave(i);
}

void Cluster::launch_slave_with(const Words& command, std::size_t i) {
    Slave& slave = slaves_.at(i);
    slave.process = Process::start(command, slave.log);
    slave.wanted = true;
}

bool Cluster::await_slave_or_end(std::size_t i) {
    Slave& slave = slaves_.at(i);
    if (!eventually([&] {
            return !slave.process.running() || run({program("tdfsctl"), "-m", slave.dir, "status"}).status == 0;
        })) {
        throw std::runtime_error("slave" + std::to_string(i) + " did not get ready");
    }
    return slave.process.running();
}

void Cluster::await_slave(std::size_t i) {
    if (!await_slave_or_end(i)) {
        throw std::runtime_error("slave" + std::to_string(i) + " ended at its start");
    }
}

void Cluster::await_end(Process& process, const std::string& name) {
    const auto status = process.wait(patience());
    if (status != 0) {
        throw std::runtime_error(name + (status ? " ended with status " + std::to_string(*status) : " does not end"));
    }
}

void Cluster::stop_master() {
    if (umount2(mount_.c_str(), 0) != 0) {
        throw std::system_error(errno, std::generic_category(), "umount " + mount_);
    }
    forget_master();
}

void Cluster::stop_slave(std::size_t i) {
    slaves_.at(i).process.signal(SIGTERM);
    forget_slave(i);
}

void Cluster::forget_master() {
    master_wanted_ = false;
    await_end(master_, "the master");
}

void Cluster::forget_slave(std::size_t i) {
    slaves_.at(i).wanted = false;
    await_end(slaves_.at(i).process, "slave" + std::to_string(i));
}

int Cluster::end_of_master() {
    master_wanted_ = false;
    return master_.wait(patience()).value_or(-1);
}

int Cluster::end_of_slave(std::size_t i) {
    slaves_.at(i).wanted = false;
    return slaves_.at(i).process.wait(patience()).value_or(-1);
}

void Cluster::kill_master() {
    master_wanted_ = false;
    master_.kill();
}

void Cluster::kill_slave(std::size_t i) {
    slaves_.at(i).wanted = false;
    slaves_.at(i).process.kill();
}

void Cluster::freeze_master() {
    const pid_t pid = master_pid();
    master_.signal(SIGSTOP);
    if (!eventually([&] { return stands_still(pid); })) {
        throw std::runtime_error("the master does not stop");
    }
}

void Cluster::thaw_master() { master_.signal(SIGCONT); }

void Cluster::freeze_slave(std::size_t i) {
    const pid_t pid = slave_pid(i);
    slaves_.at(i).process.signal(SIGSTOP);
    if (!eventually([&] { return stands_still(pid); })) {
        throw std::runtime_error("slave" + std::to_string(i) + " does not stop");
    }
}

void Cluster::thaw_slave(std::size_t i) { slaves_.at(i).process.signal(SIGCONT); }

nlohmann::json Cluster::master_status() const { return status_of(backing_); }

nlohmann::json Cluster::slave_status(std::size_t i) const { return status_of(replica(i)); }

nlohmann::json Cluster::peer(std::size_t i) const {
    const nlohmann::json status = master_status();
    for (const nlohmann::json& one : status.at("slaves")) {
        if (one.at("target") == target(i)) {
            return one;
        }
    }
    throw std::runtime_error("status does not name " + target(i) + ": " + status.dump());
}

void Cluster::wait_streaming() {
    const bool streaming = eventually([&] {
        const nlohmann::json status = master_status();
        const auto& all = status.at("slaves");
        return std::all_of(all.begin(), all.end(), [](const auto& one) { return one.at("state") == "streaming"; });
    });
    if (!streaming) {
        throw std::runtime_error("not all slaves stream: " + master_status().dump(2));
    }
}

void Cluster::drain(const std::vector<std::size_t>& only) {
    Words words{"drain", "--timeout", std::to_string(patience().count())};
    for (const std::size_t i : only) {
        words.push_back(target(i));
    }
    const Ran ran = ctl(words);
    if (ran.status != 0) {
        throw std::runtime_error("tdfsctl drain ended with " + std::to_string(ran.status) + ": " + ran.err + ran.out +
                                 "\n" + master_status().dump(2));
    }
}

std::string Cluster::differences(bool holes) const {
    const bool allocation_shown = !options_.over || !mounted();  // a mount does not tell which space was never written
    std::string all;
    for (std::size_t i = 0; i < slaves_.size(); i++) {
        const std::string found = test::tree_differences(backing_, replica(i), {.holes = holes && allocation_shown});
        if (!found.empty()) {
            all += "slave" + std::to_string(i) + ":\n" + found;
        }
    }
    return all;
}

}  // namespace tdfs::e2e

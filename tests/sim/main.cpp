// sim: runs the simulated cluster for one seed after the other, each in a process of its own.
#include <fcntl.h>
#include <malloc.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>

#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

#include "tests/sim/cluster.hpp"
#include "tests/sim/mutations.hpp"
#include "tests/sim/tree_read.hpp"
#include "tests/support/janitor.hpp"

namespace tdfs::sim {
namespace {

struct Options {
    Settings settings;
    std::uint64_t count = 1;
    bool go_on = false;  // after a failure
    bool twice = false;  // each seed again, to see that it repeats itself
    std::string dir = "/dev/shm";
};

constexpr const char* kUsage =
    "usage: sim [--seed N] [--count M] [--mutation NAME] [--go-on] [--twice] [--no-power] [--no-disk-trouble]\n"
    "           [--dir DIR] [--verbose]\n"
    "  --seed N     the first seed (else TDFS_SEED, else one from the clock)\n"
    "  --count M    how many seeds from there on (1)\n"
    "  --mutation   builds a fault in (--mutations lists them): the run should fail\n"
    "  --go-on      does not stop at the first seed that fails\n"
    "  --dir        where the machines' directories are made: a tmpfs (/dev/shm)\n"
    "  --verbose    tells what happens, and lets the daemons log\n"
    "  --calls-from-ms N   also every call from that moment on\n";

[[noreturn]] void advise(const std::string& wrong) {
    std::fprintf(stderr, "sim: %s\n%s", wrong.c_str(), kUsage);
    std::exit(2);
}

std::uint64_t number(const char* text) {
    char* end = nullptr;
    const auto n = std::strtoull(text, &end, 10);
    if (end == text || *end != '\0') advise(std::string(text) + " is no number");
    return n;
}

Options parse(int argc, char** argv) {
    Options options;
    const char* const from_environment = std::getenv("TDFS_SEED");
    options.settings.seed =
        from_environment != nullptr
            ? number(from_environment)
            : static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) % 1'000'000'000;
    const std::map<std::string, bool*> switches{
        {"--go-on", &options.go_on}, {"--twice", &options.twice}, {"--verbose", &options.settings.verbose}};
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        if (const auto it = switches.find(name); it != switches.end()) {
            *it->second = true;
            continue;
        }
        if (name == "--no-power") {
            options.settings.power = false;
            continue;
        }
        if (name == "--no-disk-trouble") {
            options.settings.disk_trouble = false;
            continue;
        }
        if (name == "--mutations") {
            for (const char* mutation : kMutations) std::puts(mutation);
            std::exit(0);
        }
        if (i + 1 == argc) advise(name + " is not known, or needs a value");
        const char* const value = argv[++i];
        if (name == "--seed") {
            options.settings.seed = number(value);
        } else if (name == "--calls-from-ms") {
            options.settings.verbose = true;
            options.settings.calls_from = number(value) * 1'000'000;
        } else if (name == "--count") {
            options.count = number(value);
        } else if (name == "--mutation") {
            options.settings.mutation = value;
            if (std::find(kMutations.begin(), kMutations.end(), options.settings.mutation) == kMutations.end()) {
                advise(options.settings.mutation + " is no mutation (--mutations lists them)");
            }
        } else if (name == "--dir") {
            options.dir = value;
        } else {
            advise(name + " is not known");
        }
    }
    return options;
}

// In a process of its own: what is left of killed daemons goes with it.
[[noreturn]] void run_one(const Settings& settings, const std::string& dir, int report) {
    ::umask(0);
    ::mallopt(M_MMAP_THRESHOLD, 64 << 20);  // or each large buffer costs its pages anew
    ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
    auto world = std::make_unique<World>(settings);
    the_world = world.get();
    Cluster cluster(*world, dir);
    the_cluster = &cluster;
    cluster.run();
    if (settings.verbose) {
        std::fprintf(stderr, "seed %llu: %.3f s simulated, %llu switches, trace %016llx\n",
                     static_cast<unsigned long long>(settings.seed), static_cast<double>(world->scheduler.now()) / 1e9,
                     static_cast<unsigned long long>(world->scheduler.switches()),
                     static_cast<unsigned long long>(world->trace));
    }
    if (::write(report, &world->trace, sizeof world->trace) < 0) ::_exit(1);
    ::_exit(0);
}

// The trace of a run that held, or nothing.
std::optional<std::uint64_t> run_seed(const Settings& settings, const std::string& dir) {
    std::array<int, 2> report{};
    if (::mkdir(dir.c_str(), 0755) != 0 || ::pipe2(report.data(), O_CLOEXEC) != 0) {
        std::fprintf(stderr, "sim: %s: %s\n", dir.c_str(), std::strerror(errno));
        std::exit(2);
    }
    const pid_t child = ::fork();
    if (child == 0) run_one(settings, dir, report[1]);
    ::close(report[1]);
    int status = 0;
    TDFS_INVARIANT(child > 0 && ::waitpid(child, &status, 0) == child, "a run can be waited for");
    std::uint64_t trace = 0;
    const bool told = ::read(report[0], &trace, sizeof trace) == static_cast<ssize_t>(sizeof trace);
    ::close(report[0]);
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
    if (WIFSIGNALED(status)) {
        std::printf("seed %llu failed: the daemons' process ended by signal %d\n",
                    static_cast<unsigned long long>(settings.seed), WTERMSIG(status));
    }
    if (status != 0 || !told) return std::nullopt;
    return trace;
}

int run(Options options) {
    std::string base = options.dir + "/tdfs-sim-XXXXXX";
    if (::mkdtemp(base.data()) == nullptr) {
        std::fprintf(stderr, "sim: %s: %s (--dir names another place)\n", base.c_str(), std::strerror(errno));
        return 2;
    }
    const test::Janitor janitor(base);
    if (!options.settings.verbose) spdlog::set_default_logger(spdlog::null_logger_st("sim"));
    const auto begin = std::chrono::steady_clock::now();
    std::uint64_t failures = 0, done = 0;
    for (; done < options.count && (failures == 0 || options.go_on); ++done, ++options.settings.seed) {
        const auto trace = run_seed(options.settings, base + "/run");
        const bool repeats = !trace || !options.twice || run_seed(options.settings, base + "/run") == trace;
        if (!repeats)
            std::printf("seed %llu does not repeat itself\n", static_cast<unsigned long long>(options.settings.seed));
        if (!trace || !repeats) ++failures;
        std::fflush(stdout);
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::printf("%llu seeds up to %llu, %llu failed, %.1f s\n", static_cast<unsigned long long>(done),
                static_cast<unsigned long long>(options.settings.seed - 1), static_cast<unsigned long long>(failures),
                took.count());
    return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace tdfs::sim

int main(int argc, char** argv) {
    // The same addresses in each run, so that what is ordered by them repeats itself.
    const int persona = ::personality(0xffffffff);
    if (persona >= 0 && (persona & ADDR_NO_RANDOMIZE) == 0 &&
        ::personality(static_cast<unsigned long>(persona) | ADDR_NO_RANDOMIZE) >= 0) {
        ::execv("/proc/self/exe", argv);
    }
    return tdfs::sim::run(tdfs::sim::parse(argc, argv));
}

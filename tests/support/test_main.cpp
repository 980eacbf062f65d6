// main of every Catch program. Prints the seed of the run (to repeat one: TDFS_TEST_SEED=N, or --rng-seed N) and each test
// case as it begins, so that a program which hangs or dies has said where.

#define CATCH_CONFIG_RUNNER
#include <cstdlib>
#include <iostream>
#include <random>

#include "tests/support/catch.hpp"

#if CATCH_VERSION_MAJOR == 2
using ListenerBase = Catch::TestEventListenerBase;
#else
using ListenerBase = Catch::EventListenerBase;
#endif

namespace {

struct SayWhatBegins : ListenerBase {
    using ListenerBase::ListenerBase;

    void testCaseStarting(const Catch::TestCaseInfo& test_case) override {
        ListenerBase::testCaseStarting(test_case);
        std::cout << "- " << test_case.name << std::endl;
    }
};

unsigned any_seed() {
    if (const char* seed = std::getenv("TDFS_TEST_SEED")) {
        return static_cast<unsigned>(std::strtoul(seed, nullptr, 10));
    }
    return std::random_device{}();
}

}  // namespace

CATCH_REGISTER_LISTENER(SayWhatBegins)

int main(int argc, char* argv[]) {
    Catch::Session session;
    session.configData().rngSeed = any_seed();
    if (const int wrong = session.applyCommandLine(argc, argv)) {
        return wrong;
    }
    const auto& options = session.configData();
    if (!options.listTests && !options.listTags && !options.showHelp) {
        std::cout << "seed " << options.rngSeed << std::endl;
    }
    return session.run();
}

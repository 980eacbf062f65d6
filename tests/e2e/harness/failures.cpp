#include "tests/e2e/harness/failures.hpp"

#define CATCH_CONFIG_EXTERNAL_INTERFACES  // Catch 2 shows its listeners only on demand
#include "tests/support/catch.hpp"

#if CATCH_VERSION_MAJOR == 2
using ListenerBase = Catch::TestEventListenerBase;
#else
using ListenerBase = Catch::EventListenerBase;
#endif

namespace {

bool failed = false;

struct FailureWatch : ListenerBase {
    using ListenerBase::ListenerBase;

    void testCaseStarting(const Catch::TestCaseInfo& test_case) override {
        ListenerBase::testCaseStarting(test_case);
        failed = false;
    }

#if CATCH_VERSION_MAJOR == 2
    bool assertionEnded(const Catch::AssertionStats& stats) override {
        failed = failed || !stats.assertionResult.isOk();
        return true;
    }
#else
    void assertionEnded(const Catch::AssertionStats& stats) override {
        failed = failed || !stats.assertionResult.isOk();
    }
#endif
};

}  // namespace

CATCH_REGISTER_LISTENER(FailureWatch)

namespace tdfs::e2e {

bool test_case_failed() { return failed; }

}  // namespace tdfs::e2e

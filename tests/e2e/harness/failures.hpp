// Whether the test case that runs now has failed so far.
#pragma once

namespace tdfs::e2e {

bool test_case_failed();

}  // namespace tdfs::e2e

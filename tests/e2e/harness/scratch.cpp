#include "tests/e2e/harness/scratch.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

namespace tdfs::e2e {
namespace {

std::system_error failed(const std::string& what) { return {errno, std::generic_category(), what}; }

}  // namespace

Scratch::Scratch() {
    const char* base = std::getenv("TDFS_TEST_DIR");
    path_ = std::string(base != nullptr ? base : "/var/tmp") + "/tdfs-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) {
        throw failed("mkdtemp " + path_);
    }
    if (chmod(path_.c_str(), 0755) != 0) {  // unprivileged callers of the tests must get through
        throw failed("chmod " + path_);
    }
    janitor_ = std::make_unique<test::Janitor>(path_);
}

std::string Scratch::dir(const std::string& name) const {
    const std::string made = path_ + "/" + name;
    if (mkdir(made.c_str(), 0755) != 0) {
        throw failed("mkdir " + made);
    }
    return made;
}

}  // namespace tdfs::e2e

#include "tests/support/temp_dir.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <system_error>

#include "tests/support/janitor.hpp"

namespace tdfs::test {
namespace {

std::system_error trouble(const std::string& what) { return {errno, std::generic_category(), what}; }

std::string make_unique(std::string name) {
    name += "-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw trouble("mkdtemp " + name);
    return name;
}

// The program's own directory in each place that its tests ask for.
std::string base_in(const std::string& place) {
    static std::mutex s_mutex;
    static std::map<std::string, std::pair<std::string, std::unique_ptr<Janitor>>> s_bases;
    const std::lock_guard lock(s_mutex);
    auto& [base, janitor] = s_bases[place];
    if (!janitor) {
        base = make_unique(place + "/tdfs-test");
        janitor = std::make_unique<Janitor>(base);
    }
    return base;
}

}  // namespace

TempDir::TempDir() : path_(make_unique(base_in(std::filesystem::temp_directory_path()) + "/dir")) {
    fd_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd_ < 0) throw trouble("open " + path_.string());
}

TempDir::~TempDir() {
    ::close(fd_);
    // rm, since it alone does not mind trees deeper than PATH_MAX or than the limit of open files.
    [[maybe_unused]] const int status = std::system(("rm -rf -- '" + path_.string() + "'").c_str());
}

std::string TempDir::dir(const std::string& name) const {
    std::string made = *this / name;
    if (::mkdir(made.c_str(), 0755) != 0) throw trouble("mkdir " + made);
    return made;
}

}  // namespace tdfs::test

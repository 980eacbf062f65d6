#include "tests/faults/support/machine.hpp"

#include <sys/mount.h>

#include <cerrno>
#include <system_error>

namespace tdfs::faults {

e2e::Words on_boot(const std::string& boot, const std::string& dir, const e2e::Words& command) {
    const std::string file = dir + "/" + boot;
    e2e::write_to(file, boot + "\n");
    // Of /proc alone nothing may go back to where it came from.
    constexpr char kBoot[] =
        R"(mount --make-rprivate /proc && mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@")";
    e2e::Words words{"unshare", "-m", "--propagation", "unchanged", "sh", "-c", kBoot, "sh", file};
    words.insert(words.end(), command.begin(), command.end());
    return words;
}

void share_mounts_at(const std::string& place) {
    if (mount(place.c_str(), place.c_str(), nullptr, MS_BIND, nullptr) != 0 ||
        mount(nullptr, place.c_str(), nullptr, MS_SHARED, nullptr) != 0) {
        throw std::system_error(errno, std::generic_category(), "share " + place);
    }
}

}  // namespace tdfs::faults

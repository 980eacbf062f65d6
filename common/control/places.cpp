#include "common/control/places.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>

#include "common/os/file.hpp"
#include "common/os/retry.hpp"
#include "proto/checksum.hpp"
#include "proto/hex.hpp"

namespace tdfs {

std::string run_socket_name(std::string_view canonical_dir) {
    auto hash = checksum(as_bytes(canonical_dir));
    std::string name(16, '0');
    for (auto digit = name.rbegin(); digit != name.rend(); ++digit, hash >>= 4) *digit = kHexDigits[hash & 15U];
    return name + ".sock";
}

Result<OwnFd, std::string> open_run_directory() {
    const auto refuse = [](const std::string& why) {
        return Unexpected<std::string>(std::string(kRunDirectory) + ": " + why);
    };
    if (::mkdir(kRunDirectory, 0755) != 0 && errno != EEXIST) return refuse(Errno::last().text());
    auto dir = open_at(AT_FDCWD, kRunDirectory, O_RDONLY | O_DIRECTORY);
    if (!dir) return refuse(dir.error().text());
    const auto info = stat_fd(dir->get());
    if (!info) return refuse(info.error().text());
    const bool ours = info->uid == 0 || info->uid == ::geteuid();
    if (!ours || (info->mode & (S_IWGRP | S_IWOTH)) != 0)
        return refuse("other users may write there, so it is not used");
    return std::move(*dir);
}

SysResult<sockaddr_un> socket_address(int dir, const std::string& name) {
    const auto path = proc_fd_path(dir) + "/" + name;
    sockaddr_un address{};
    if (path.size() >= sizeof address.sun_path) return fail(ENAMETOOLONG);
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

SysResult<OwnFd> connect_to(int dir, const std::string& name) {
    const auto address = socket_address(dir, name);
    if (!address) return fail(address.error());
    OwnFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return fail_last();
    const auto* generic = reinterpret_cast<const sockaddr*>(&*address);
    if (retry_interrupted([&] { return ::connect(fd.get(), generic, sizeof *address); }) != 0) return fail_last();
    return fd;
}

}  // namespace tdfs

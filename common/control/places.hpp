// Where control sockets are, for those who listen and those who connect.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>
#include <string_view>

#include "common/os/fd.hpp"
#include "proto/errno.hpp"
#include "proto/result.hpp"

namespace tdfs {

// In the state directory (DIR/.tdfs or --state-dir).
inline constexpr const char* kControlSocketName = "control";

// The second place, for when a mount covers DIR and with it DIR/.tdfs: /run/tdfs/<16 hex digits>.sock, named after the
// canonical path of DIR (XXH3-64).
inline constexpr const char* kRunDirectory = "/run/tdfs";
[[nodiscard]] std::string run_socket_name(std::string_view canonical_dir);
// Opens kRunDirectory for a server, making it where it is missing. Refused where others than root and us may write to
// it.
Result<OwnFd, std::string> open_run_directory();

// The address of `name` in an open directory. It goes through /proc/self/fd, so that neither the length of the
// directory's path nor what happens to it matters.
SysResult<sockaddr_un> socket_address(int dir, const std::string& name);

// A connected stream socket. Errors are those of connect(2).
SysResult<OwnFd> connect_to(int dir, const std::string& name);

}  // namespace tdfs

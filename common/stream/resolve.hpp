// Names to addresses.
#pragma once

#include <string>
#include <vector>

#include <asio/ip/tcp.hpp>

#include "proto/result.hpp"

namespace tdfs {

// Resolves in a thread of its own, which is left behind when it takes longer than timeout_ms or `cancel` becomes
// readable, since getaddrinfo cannot be interrupted; a stop must not wait for a name server. Numeric addresses need no
// thread.
Result<std::vector<asio::ip::tcp::endpoint>, std::string> resolve(const std::string& host, const std::string& port,
                                                                  bool for_listening, int timeout_ms, int cancel);

}  // namespace tdfs

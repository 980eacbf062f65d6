// Replies that wait for slaves.
#pragma once

#include <functional>

#include "master/fuse_reply.hpp"
#include "master/sync_gate.hpp"

namespace tdfs {

// Calls `reply`, which is to answer the request without an error, once as many slaves as --sync asks for have everything
// before `upto`; answers an error itself. Returns at once: the worker goes on to other requests. May reply before it
// returns, so `req` is not the caller's any more.
void reply_when_confirmed(fuse_req_t req, Lsn upto, std::function<void(fuse_req_t)> reply);

// The same for a sync that may have failed here already; `reply` is a success without content if none is given.
void reply_synced(fuse_req_t req, const SysResult<Lsn>& synced, std::function<void(fuse_req_t)> reply = nullptr);

}  // namespace tdfs

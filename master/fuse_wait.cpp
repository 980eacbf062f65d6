#include "master/fuse_wait.hpp"

#include "master/fuse_answers.hpp"
#include "master/mount.hpp"

namespace tdfs {

namespace {

SyncGate& gate_of(fuse_req_t req) { return static_cast<FuseMount*>(fuse_req_userdata(req))->sync_gate(); }

// Called with the request locked: it must not be answered from here, and the gate's thread does it.
void on_interrupt(fuse_req_t req, void* ticket) { gate_of(req).interrupt(reinterpret_cast<SyncGate::Ticket>(ticket)); }

}  // namespace

void reply_when_confirmed(fuse_req_t req, Lsn upto, std::function<void(fuse_req_t)> reply) {
    SyncGate& gate = gate_of(req);
    if (!gate.on()) return reply(req);
    const SyncGate::Ticket ticket =
        gate.open(fuse_req_ctx(req)->pid, [req, way = AnswerThrough::here(), reply = std::move(reply)](Errno how) {
            const AnswerThrough there(way);
            if (how == Errno(0)) return reply(req);
            fuse_reply_err(req, how.value());
        });
    // Before it is parked: from then on it may be answered, and gone.
    fuse_req_interrupt_func(req, on_interrupt, reinterpret_cast<void*>(ticket));
    gate.park(ticket, upto);
}

void reply_synced(fuse_req_t req, const SysResult<Lsn>& synced, std::function<void(fuse_req_t)> reply) {
    if (!reply) reply = [](fuse_req_t r) { fuse_reply_err(r, 0); };
    if (synced) return reply_when_confirmed(req, *synced, std::move(reply));
    fuse_reply_err(req, synced.error().value());
}

}  // namespace tdfs

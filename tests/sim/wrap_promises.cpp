// Where the slaves' code makes a promise: the linker leads these calls through here (--wrap, see CMakeLists.txt), so that
// each is checked at the very moment it is made. Some of the built-in faults (README.md) are here too.
#include "common/journal/inflight_table.hpp"
#include "proto/session.hpp"
#include "slave/applied_state.hpp"
#include "slave/applier.hpp"
#include "tests/sim/cluster.hpp"

using namespace tdfs;
using sim::the_cluster;
using sim::the_world;

using Done = Result<void, std::string>;

#define TDFS_SIM_APPLY                                                                                              \
    "_ZN4tdfs7Applier5applyERKSt7variantIJNS_12CreateRecordENS_10LinkRecordENS_12UnlinkRecordENS_11RmdirRecordENS_" \
    "12RenameRecordENS_11WriteRecordENS_15FallocateRecordENS_15CopyRangeRecordENS_16AttributesRecordENS_"           \
    "14SetXattrRecordENS_17RemoveXattrRecordENS_10SyncRecordEEENS_3LsnE"

// NOLINTBEGIN(*-reserved-identifier): the linker's names
void real_advance(AppliedState* state, Lsn end,
                  std::uint64_t time) asm("__real__ZN4tdfs12AppliedState7advanceENS_3LsnEm");
void wrap_advance(AppliedState* state, Lsn end,
                  std::uint64_t time) asm("__wrap__ZN4tdfs12AppliedState7advanceENS_3LsnEm");
Applied real_apply(Applier* applier, const Record& r, Lsn lsn) asm("__real_" TDFS_SIM_APPLY);
Applied wrap_apply(Applier* applier, const Record& r, Lsn lsn) asm("__wrap_" TDFS_SIM_APPLY);
void real_start(AppliedState* state, Lsn record, const StartedNote& note,
                unsigned worker) asm("__real__ZN4tdfs12AppliedState5startENS_3LsnERKNS_11StartedNoteEj");
void real_mark_done(AppliedState* state, Lsn record) asm("__real__ZN4tdfs12AppliedState9mark_doneENS_3LsnE");
void wrap_mark_done(AppliedState* state, Lsn record) asm("__wrap__ZN4tdfs12AppliedState9mark_doneENS_3LsnE");
Applied wrap_apply(Applier* applier, const Record& r, Lsn lsn) {
    auto* const state = the_cluster->node(the_world->current()->id).state;
    const bool is_wave = state != nullptr && state->is_ahead_of(lsn);
    if (is_wave && the_world->mutated("marked-before-effect") && !state->is_done(lsn)) real_mark_done(state, lsn);
    if (!is_wave && the_world->mutated("applied-before-effect")) {
        const Lsn end = the_cluster->end_of_frame(lsn);
        if (state != nullptr && state->point().lsn != end) {
            the_cluster->applying(*state, end);
            real_advance(state, end, 0);
        }
    }
    the_cluster->wait_for_storage(lsn);
    return real_apply(applier, r, lsn);
}

void wrap_start_note(AppliedState* state, Lsn record, const StartedNote& note,
                     unsigned worker) asm("__wrap__ZN4tdfs12AppliedState5startENS_3LsnERKNS_11StartedNoteEj");
Done real_reset(AppliedState* state,
                const AppliedPoint& at) asm("__real__ZN4tdfs12AppliedState5resetB5cxx11ERKNS_12AppliedPointE");
Done wrap_reset(AppliedState* state,
                const AppliedPoint& at) asm("__wrap__ZN4tdfs12AppliedState5resetB5cxx11ERKNS_12AppliedPointE");
Done real_invalidate(AppliedState* state) asm("__real__ZN4tdfs12AppliedState10invalidateB5cxx11Ev");
Done wrap_invalidate(AppliedState* state) asm("__wrap__ZN4tdfs12AppliedState10invalidateB5cxx11Ev");
Done real_checkpoint(AppliedState* state, const AppliedPoint& at) asm(
    "__real__ZN4tdfs12AppliedState10checkpointB5cxx11ERKNS_12AppliedPointE");
Done wrap_checkpoint(AppliedState* state, const AppliedPoint& at) asm(
    "__wrap__ZN4tdfs12AppliedState10checkpointB5cxx11ERKNS_12AppliedPointE");
Bytes real_encode_ack(const Ack& ack) asm("__real__ZN4tdfs6encodeERKNS_3AckE");
Bytes wrap_encode_ack(const Ack& ack) asm("__wrap__ZN4tdfs6encodeERKNS_3AckE");
Bytes real_encode_welcome(const Welcome& welcome) asm("__real__ZN4tdfs6encodeERKNS_7WelcomeE");
Bytes wrap_encode_welcome(const Welcome& welcome) asm("__wrap__ZN4tdfs6encodeERKNS_7WelcomeE");
void real_arm(InflightTable* table, std::uint32_t slot, Lsn lsn, std::uint32_t frame_bytes,
              std::uint64_t time) asm("__real__ZN4tdfs13InflightTable3armEjNS_3LsnEjm");
void wrap_arm(InflightTable* table, std::uint32_t slot, Lsn lsn, std::uint32_t frame_bytes,
              std::uint64_t time) asm("__wrap__ZN4tdfs13InflightTable3armEjNS_3LsnEjm");
VolumeId wrap_random_volume() asm("__wrap__ZN4tdfs8VolumeId6randomEv");
Epoch wrap_random_epoch() asm("__wrap__ZN4tdfs12random_epochEv");
// NOLINTEND(*-reserved-identifier)

void wrap_advance(AppliedState* state, Lsn end, std::uint64_t time) {
    if (the_world->mutated("applied-before-effect") && state->point().lsn == end) return;
    the_cluster->applying(*state, end);
    real_advance(state, end, time);
}

void wrap_start_note(AppliedState* state, Lsn record, const StartedNote& note, unsigned worker) {
    if (!the_world->mutated("note-forgotten")) real_start(state, record, note, worker);
}

void wrap_mark_done(AppliedState* state, Lsn record) {
    if (!state->is_done(record)) real_mark_done(state, record);
}

Done wrap_reset(AppliedState* state, const AppliedPoint& at) {
    the_cluster->resynced(at.lsn);
    return real_reset(state, at);
}

Done wrap_invalidate(AppliedState* state) {
    the_cluster->resync_begins();
    return real_invalidate(state);
}

Done wrap_checkpoint(AppliedState* state, const AppliedPoint& at) {
    auto done = real_checkpoint(state, at);
    if (done) the_cluster->checkpointed(at.lsn);
    return done;
}

Bytes wrap_encode_ack(const Ack& ack) {
    the_cluster->acknowledges(ack);
    return real_encode_ack(ack);
}

Bytes wrap_encode_welcome(const Welcome& welcome) {
    if (!the_world->mutated("resumes-one-record-late")) return real_encode_welcome(welcome);
    Welcome late = welcome;
    late.received = the_cluster->end_of_frame(welcome.received);
    return real_encode_welcome(late);
}

void wrap_arm(InflightTable* table, std::uint32_t slot, Lsn lsn, std::uint32_t frame_bytes, std::uint64_t time) {
    the_cluster->reserved(lsn + frame_bytes);
    if (!the_world->mutated("in-flight-forgotten")) real_arm(table, slot, lsn, frame_bytes, time);
}

VolumeId wrap_random_volume() {
    VolumeId id;
    for (auto& byte : id.bytes) byte = static_cast<std::byte>(the_world->random.next());
    return id;
}

Epoch wrap_random_epoch() { return Epoch(the_world->random.next() | 1); }

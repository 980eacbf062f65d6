#include "common/stream/position.hpp"

#include "proto/record.hpp"

namespace tdfs {

namespace {

std::string number(Lsn lsn) { return std::to_string(lsn.bytes()); }

std::optional<std::string> different_programs(const char* other, std::uint32_t version, std::uint64_t format) {
    if (version != kProtocolVersion) {
        return std::string(other) + " speaks protocol version " + std::to_string(version) + ", this side version " +
               std::to_string(kProtocolVersion) + ": install the same version of tdfs on both machines";
    }
    if (format != format_hash()) {
        return std::string(other) +
               " writes its records in another format: install the same version of tdfs on both machines";
    }
    return std::nullopt;
}

bool is_in_journal(const JournalSpan& master, Epoch epoch, Lsn lsn) {
    return lsn >= master.oldest && epoch == master.history.back().epoch && !forked(master, epoch, lsn);
}

}  // namespace

std::optional<std::string> forked(const JournalSpan& master, Epoch epoch, Lsn received) {
    for (std::size_t i = 0; i < master.history.size(); ++i) {
        const EpochStart& era = master.history[i];
        if (era.epoch != epoch) continue;
        const bool current = i + 1 == master.history.size();
        const Lsn end = current ? master.tail : master.history[i + 1].first_lsn;
        if (received < era.first_lsn) {
            return "its history forked: position " + number(received) + " is before its epoch began (" +
                   number(era.first_lsn) + ")";
        }
        if (received > end) {
            return "its history forked: it has position " + number(received) + ", here that epoch ends at " +
                   number(end);
        }
        return std::nullopt;
    }
    return "its history forked: its epoch is not known here";
}

CatchUp catch_up(const JournalSpan& master, const Welcome& replica) {
    switch (replica.state) {
        case ReplicaState::kFresh:
            return {std::nullopt, "fresh replica", false, {}};
        case ReplicaState::kResyncing:
            // What changed since may have its new time there already, and its content not yet.
            if (is_in_journal(master, replica.epoch, replica.durable))
                return {std::nullopt, "an earlier resync was not finished", false, replica.durable};
            return {
                std::nullopt, "an earlier resync was not finished, and began before what the journal keeps", true, {}};
        case ReplicaState::kDamaged:
            if (replica.durable != Lsn() && is_in_journal(master, replica.epoch, replica.durable)) {
                return {std::nullopt, "what changed after position " + number(replica.durable) + " may be lost there",
                        false, replica.durable};
            }
            return {std::nullopt, "its spool or its state is damaged (its log says where)", true, {}};
        case ReplicaState::kStreaming:
        case ReplicaState::kStalled:
        case ReplicaState::kPaused:
            break;
    }
    if (!replica.volume.valid()) return {std::nullopt, "fresh replica", false, {}};
    if (auto why = forked(master, replica.epoch, replica.received)) return {std::nullopt, std::move(*why), true, {}};
    if (replica.received < master.oldest) {
        // Where history went on in another epoch since, it was not sure what had come before.
        return {std::nullopt,
                "position " + number(replica.received) + " is older than the journal (oldest " + number(master.oldest) +
                    ")",
                replica.epoch != master.history.back().epoch,
                {}};
    }
    return {Position{master.history.back().epoch, replica.received}, {}, false, {}};
}

std::optional<std::string> refuse_replica(const VolumeId& volume, const Welcome& replica) {
    if (auto why = different_programs("the slave", replica.version, replica.format)) return why;
    if (replica.volume.valid() && replica.volume != volume) {
        return "the replica holds volume " + replica.volume.text() + ", the master serves " + volume.text() +
               ": give the slave another directory, or empty this one";
    }
    return std::nullopt;
}

std::optional<std::string> refuse_master(const Hello& master) {
    if (auto why = different_programs("the master", master.version, master.format)) return why;
    if (!master.volume.valid()) return "the master names no volume";
    if (master.history.empty()) return "the master names no epoch";
    return std::nullopt;
}

}  // namespace tdfs

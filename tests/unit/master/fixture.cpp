#include "tests/unit/master/fixture.hpp"

#include <fcntl.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "slave/applied_state.hpp"
#include "slave/applier.hpp"
#include "tests/support/tree_compare.hpp"

namespace tdfs::test {

Master::Master(bool compress, const JournalOptions& options, int journal_dir) {
    ::umask(0);
    REQUIRE(::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0);
    auto opened = Journal::open(journal_dir < 0 ? state.fd() : journal_dir, options, Lsn(0), true, {});
    REQUIRE(opened);
    journal = std::move(*opened);
    nodes = std::make_unique<NodeTable>(backing.fd(), stat_fd(backing.fd()).value(), 64);
    mutator = std::make_unique<Mutator>(*journal, compress);
    settler = std::make_unique<Settler>(locks, *nodes, *mutator, *journal);
    REQUIRE(settler->open(state.fd(), Lsn(0), Lsn(0)));
    fs = std::make_unique<FileSystem>(backing.fd(), locks, *nodes, *mutator, *settler, *journal);
}

namespace {
template <class Visit>
void read_records(Journal& journal, Visit&& visit) {
    JournalReader reader(journal, journal.oldest());
    Bytes scratch;
    for (FrameView frame; reader.next(frame) == JournalReader::Status::kFrame;) {
        if (frame.header.kind != FrameKind::kRecord) continue;
        const auto payload = raw_payload(frame, scratch);
        REQUIRE(payload);
        const auto record = decode_record(*payload);
        REQUIRE(record);
        visit(*record, frame.header.lsn);
    }
    REQUIRE(reader.position() == journal.tail());
}
}  // namespace

std::vector<std::string> Master::records() const {
    std::vector<std::string> out;
    read_records(*journal, [&](const Record& r, Lsn) {
        const auto* const a = std::get_if<AttributesRecord>(&r);
        if (a == nullptr || (a->valid & AttributesRecord::kSettled) == 0) out.push_back(to_text(r));
    });
    return out;
}

std::string Master::differences_after_replay() const {
    const TempDir replica, replica_state;
    auto applied = AppliedState::open(replica_state.fd(), boot_id());
    REQUIRE(applied);
    Applier applier(replica.fd(), **applied);
    REQUIRE(applier.prepare());
    read_records(*journal, [&](const Record& r, Lsn lsn) {
        INFO("lsn " << lsn.bytes() << ": " << to_text(r));
        const auto done = applier.apply(r, lsn);
        if (!done) FAIL(done.error().text());
    });
    const auto root = stat_fd(backing.fd()).value();  // no operation made the root itself: it is not in the journal
    REQUIRE(change_mode(replica.fd(), root.mode & 07777));
    REQUIRE(set_mtime_fd(replica.fd(), root.mtime_ns));
    return tree_differences(backing.path(), replica.path());
}

}  // namespace tdfs::test

#include "tests/unit/resync/fixture.hpp"

#include <cstdlib>
#include <deque>
#include <iostream>
#include <random>

#include "common/os/file.hpp"
#include "proto/frame.hpp"

namespace tdfs::test {

TestJournal::TestJournal(std::uint64_t segment_bytes) {
    JournalOptions options;
    options.segment_bytes = segment_bytes;
    auto opened = Journal::open(dir_.fd(), options, Lsn(4096), true, {});
    REQUIRE(opened);
    journal_ = std::move(*opened);
}

void TestJournal::add(const Record& r) {
    Bytes payload;
    encode_record(r, payload);
    auto place = journal_->reserve(payload.size(), {});
    REQUIRE(place);
    const ByteView piece(payload);
    REQUIRE(journal_->commit(std::move(*place), 0, static_cast<std::uint32_t>(payload.size()), {&piece, 1}));
}

namespace {

struct Message {
    MessageKind kind;
    Bytes payload;
};

// Splits what one side produced into messages.
void split(Bytes& out, std::deque<Message>& into, const Course& course) {
    ByteView rest(out);
    while (!rest.empty()) {
        const auto frame = parse_frame(rest);
        REQUIRE(frame);
        REQUIRE(frame->complete());
        const auto kind = static_cast<MessageKind>(frame->header.kind);
        if (course.see) course.see(kind, frame->payload);
        into.push_back({kind, Bytes(frame->payload.begin(), frame->payload.end())});
        rest = rest.subspan(frame->bytes.size());
    }
    out.clear();
}

}  // namespace

Outcome resync(Master& master, const TempDir& replica, const Course& course) {
    Outcome outcome;
    ResyncSource source(master.dir.fd(), master.journal.get(), Epoch(7), master.hold, "test", course.full, course.limits);
    const ResyncStart start{"test", course.full, master.journal.get().tail()};
    ResyncSink sink(replica.fd(), start);
    std::deque<Message> questions, answers;
    Bytes out;
    for (int idle = 0; idle < 3 && !source.finished() && outcome.messages < course.cut_after;) {
        const auto before = outcome.messages;
        while (sink.produce(out)) split(out, questions, course);
        split(out, questions, course);
        while (!questions.empty()) {
            if (course.between) course.between();
            REQUIRE(source.receive(questions.front().kind, questions.front().payload));
            questions.pop_front();
            ++outcome.messages;
            while (source.produce(out)) split(out, answers, course);
            split(out, answers, course);
        }
        while (source.produce(out)) split(out, answers, course);
        split(out, answers, course);
        for (; !answers.empty() && outcome.messages < course.cut_after; answers.pop_front()) {
            ++outcome.messages;
            if (course.before_answer) course.before_answer(answers.front().kind);
            if (answers.front().kind == MessageKind::kRefuse) {
                const auto refuse = decode_Refuse(answers.front().payload);
                REQUIRE(refuse);
                outcome.refused = refuse->reason;
                continue;
            }
            REQUIRE(sink.receive(answers.front().kind, answers.front().payload));
        }
        idle = outcome.messages == before ? idle + 1 : 0;
    }
    outcome.finished = source.finished().has_value();
    if (outcome.finished) {
        CHECK_FALSE(master.hold.held);
        CHECK(source.finished()->lsn <= master.journal.get().tail());
    }
    outcome.counts = sink.counts();
    outcome.progress = sink.progress();
    outcome.failed = sink.failed();
    return outcome;
}

std::string differences(const Master& master, const TempDir& replica) {
    return tree_differences(master.dir.path().string(), replica.path().string());
}

std::uint64_t seed_of_run() {
    const char* given = std::getenv("TDFS_SEED");
    const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::cout << "TDFS_SEED=" << seed << std::endl;
    return seed;
}

}  // namespace tdfs::test

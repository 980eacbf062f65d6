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
        if (!frame || !frame->complete()) FAIL("a message that is no frame");
        const auto kind = static_cast<MessageKind>(frame->header.kind);
        if (course.see) course.see(kind, frame->payload);
        into.push_back({kind, Bytes(frame->payload.begin(), frame->payload.end())});
        rest = rest.subspan(frame->bytes.size());
    }
    out.clear();
}

class Link {
  public:
    Link(Master& master, const TempDir& replica, const Course& course)
        : course_(course),
          source_(master.dir.fd(), master.journal.get(), Epoch(7), master.hold, {"test", course.full, course.since},
                  course.limits),
          sink_(replica.fd(), ResyncStart{"test", course.full, master.journal.get().tail()}) {}

    Outcome run() {
        for (int idle = 0; idle < 3 && !source_.finished() && !cut_;) {
            const auto before = outcome_.messages;
            produce(sink_, questions_);
            for (; !questions_.empty(); questions_.pop_front()) ask(questions_.front());
            produce(source_, answers_);
            for (; !answers_.empty() && !cut_; answers_.pop_front()) answer(answers_.front());
            idle = outcome_.messages == before ? idle + 1 : 0;
        }
        outcome_.finished = source_.finished().has_value();
        if (outcome_.finished) outcome_.end = source_.finished()->lsn;
        outcome_.counts = sink_.counts();
        outcome_.progress = sink_.progress();
        outcome_.failed = sink_.failed();
        return outcome_;
    }

  private:
    template <class Side>
    void produce(Side& side, std::deque<Message>& into) {
        Bytes out;
        while (side.produce(out)) split(out, into, course_);
        split(out, into, course_);
    }
    void count() {
        if (++outcome_.messages >= kMostMessages) FAIL("a resync that does not end");
        cut_ = cut_ || outcome_.messages >= course_.cut_after;
    }
    void ask(const Message& m) {
        if (course_.between) course_.between();
        if (!source_.receive(m.kind, m.payload)) FAIL("a question that the source refuses");
        count();
        produce(source_, answers_);
    }
    void answer(const Message& m) {
        count();
        cut_ = cut_ || m.kind == course_.cut_at;
        if (cut_) return;
        if (course_.before_answer) course_.before_answer(m.kind);
        if (m.kind == MessageKind::kRefuse) {
            const auto refuse = decode_Refuse(m.payload);
            outcome_.refused = refuse ? refuse->reason : "?";
        } else if (!sink_.receive(m.kind, m.payload)) {
            FAIL("an answer that the sink refuses");
        }
    }

    static constexpr std::size_t kMostMessages = 500'000;
    const Course& course_;
    ResyncSource source_;
    ResyncSink sink_;
    std::deque<Message> questions_, answers_;
    Outcome outcome_;
    bool cut_ = false;
};

}  // namespace

Outcome resync(Master& master, const TempDir& replica, const Course& course) {
    const auto outcome = Link(master, replica, course).run();
    if (outcome.finished) {
        CHECK_FALSE(master.hold.held);
        CHECK(outcome.end <= master.journal.get().tail());
    }
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

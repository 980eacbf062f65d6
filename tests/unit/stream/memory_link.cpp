#include "tests/unit/stream/memory_link.hpp"

#include <poll.h>

#include <algorithm>

#include "common/os/file.hpp"

namespace tdfs::test {

MemoryLink::MemoryLink(TestJournal& journal, FakeReplica& replica, Tamper tamper, Publisher::Volume volume_of_master)
    : journal_(journal),
      replica_(replica),
      tamper_(std::move(tamper)),
      volume_(std::move(volume_of_master)),
      make_responder_(responders(journal)),
      master_(*journal_, volume_, name_, make_responder_, now_) {}

bool MemoryLink::settle() {
    while (!cut_ && turn()) {
    }
    return !cut_ && !master_.ended() && (!slave_ || !slave_->ended());
}

bool MemoryLink::turn() {
    bool moved = false;
    master_.tick(now_);
    if (!master_.out().empty()) {
        const Bytes bytes(master_.out().begin(), master_.out().end());
        master_.sent(bytes.size());
        send(bytes);
        moved = true;
    } else if (const auto wish = master_.journal_wish(); wish && !slave_deaf) {
        send_journal(*wish);
        moved = true;
    }
    if (!slave_) return moved;
    pollfd event{replica_.ack_event(), POLLIN, 0};
    if (::poll(&event, 1, 0) > 0) {
        drain_event(event.fd);
        slave_->acknowledge();
    }
    slave_->tick(now_);
    if (!slave_->out().empty() && !master_deaf && master_.wants_input()) {
        const Bytes bytes(slave_->out().begin(), slave_->out().end());
        slave_->sent(bytes.size());
        answer(bytes);
        moved = true;
    }
    return moved && !master_.ended();
}

// As the driver does it: the segment stays open while a range is under way.
void MemoryLink::send_journal(const PublisherSession::JournalWish& wish) {
    if (wish.range_bytes == 0) {
        auto view = journal_->view(wish.from);
        if (!view) return master_.journal_gone();
        view_ = std::move(*view);
        view_done_ = 0;
        master_.begin_range(view_.bytes);
    }
    Bytes part(std::min(view_.bytes - view_done_, journal_bytes_per_turn));
    REQUIRE(read_exact(view_.fd, part, view_.file_offset + view_done_));
    view_done_ += part.size();
    master_.journal_sent(part.size());
    send(part);
}

void MemoryLink::answer(ByteView bytes) {
    while (!bytes.empty() && !master_.ended()) {
        const auto space = master_.space();
        const std::size_t n = std::min(space.size(), bytes.size());
        REQUIRE(n > 0);
        std::copy_n(bytes.begin(), n, space.begin());
        bytes = bytes.subspan(n);
        master_.filled(n, now_);
    }
}

void MemoryLink::send(Bytes bytes) {
    if (cut_) return;
    const std::size_t sent = bytes.size();
    if (tamper_) {
        const std::size_t kept = tamper_(to_slave_, bytes);
        cut_ = kept < sent;
        bytes.resize(kept);
    }
    to_slave_ += sent;
    deliver(bytes);
}

void MemoryLink::deliver(ByteView bytes) {
    while (!bytes.empty()) {
        if (slave_ && slave_->ended()) return;
        const auto space = slave_ ? slave_->space() : door_.space();
        const std::size_t n = std::min(space.size(), bytes.size());
        REQUIRE(n > 0);
        std::copy_n(bytes.begin(), n, space.begin());
        bytes = bytes.subspan(n);
        if (slave_) {
            slave_->filled(n, now_);
            continue;
        }
        door_.filled(n);
        auto hello = read_hello(door_);
        if (!hello) {
            hello_error_ = hello.error().what;
            cut_ = true;
            return;
        }
        if (*hello) slave_.emplace(replica_, std::move(**hello), now_);
    }
}

void require_exact(TestJournal& journal, const FakeReplica& replica) {
    const Bytes spool = replica.spool();
    const Lsn begin = replica.spool_begin();
    REQUIRE(begin + spool.size() <= journal->tail());
    REQUIRE(spool == journal.bytes(begin, begin + spool.size()));
}

}  // namespace tdfs::test

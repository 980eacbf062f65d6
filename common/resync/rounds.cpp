#include "common/resync/rounds.hpp"

#include <fcntl.h>

#include <algorithm>
#include <chrono>

#include "proto/path.hpp"

namespace tdfs {
namespace {

constexpr std::size_t kBytesOfOneRead = 8 * 1024 * 1024;

// How much there is to do for some touched paths, counted until it is clear that it is too much.
class Estimate {
  public:
    Estimate(const BackingDir& dir, const ResyncLimits& limits) : dir_(dir), limits_(limits) {}

    void add(const TouchedPath& t) {
        ++paths_;
        std::uint64_t known = 0;
        bool bounded = !t.ranges.empty();
        for (const auto& [offset, length] : t.ranges) {
            known += std::min(length, limits_.last_round_bytes + 1);
            bounded = bounded && length <= limits_.last_round_bytes;
        }
        if (!t.deep && (!t.content || bounded)) {
            bytes_ += known;
            return;
        }
        const auto parent = open_parent_beneath(dir_.root, t.path);
        if (parent) add_object(parent->get(), std::string(leaf_of(t.path)), t.deep);
    }
    [[nodiscard]] bool too_much() const {
        return paths_ > limits_.last_round_paths || bytes_ > limits_.last_round_bytes;
    }

  private:
    void add_object(int dir, const std::string& name, bool deep) {
        const auto info = stat_at(dir, name);
        if (!info) return;
        if (info->is_regular()) bytes_ += info->size;
        if (!info->is_dir() || !deep) return;
        const auto opened = open_at(dir, name, O_RDONLY | O_DIRECTORY);
        if (!opened) return;
        const auto names = read_dir(opened->get());
        if (!names) return;
        paths_ += names->size();
        for (std::size_t i = 0; i < names->size() && !too_much(); ++i) {
            if (!name.empty() || (*names)[i].name != kStateName) add_object(opened->get(), (*names)[i].name, true);
        }
    }

    const BackingDir& dir_;
    const ResyncLimits& limits_;
    std::size_t paths_ = 0;
    std::uint64_t bytes_ = 0;
};

}  // namespace

Rounds::Rounds(const BackingDir& dir, Journal& journal, std::optional<Lsn> since, Epoch epoch, WriterHold& writers,
               const ResyncLimits& limits)
    : dir_(dir),
      journal_(journal),
      epoch_(epoch),
      writers_(writers),
      limits_(limits),
      from_before_(since.has_value()),
      reader_(journal, since.value_or(journal.tail())),
      began_ns_(monotonic_ns()) {}

Answer<bool> Rounds::follow() {
    const auto begin = reader_.position();
    for (;;) {
        const auto read = read_one();
        if (!read) return Unexpected<Unreadable>(read.error());
        if (*read == Read::kTail) return true;
        if (reader_.position() - begin >= kBytesOfOneRead) return false;
    }
}

Answer<Rounds::Read> Rounds::read_one() {
    FrameView frame;
    switch (reader_.next(frame)) {
        case JournalReader::Status::kAtTail:
            return Read::kTail;
        case JournalReader::Status::kGone:
        case JournalReader::Status::kDamaged:
            lose();
            return Read::kMore;
        case JournalReader::Status::kError:
            return Unexpected<Unreadable>("the master cannot read its journal: " + reader_.error().text());
        case JournalReader::Status::kFrame:
            break;
    }
    if (frame.header.kind != FrameKind::kRecord) return Read::kMore;
    const auto payload = raw_payload(frame, scratch_);
    const auto record = payload ? decode_record(*payload) : Result<Record, DecodeError>(bad("not to be expanded"));
    if (record) {
        touched_.add(*record);
    } else {
        lose();
    }
    return Read::kMore;
}

// What was recorded up to now is not to be had any more (retention, damage): so everything may have changed. What comes
// from the tail on is in the journal again.
void Rounds::lose() {
    reader_.seek(journal_.tail());
    touched_.add_everything();
}

bool Rounds::end_hold() {
    if (!hold_) return false;
    const Lsn lsn = hold_->lsn();
    const bool in_time = hold_->end();
    hold_ms_ = hold_->ms();
    hold_.reset();
    if (in_time) finished_ = Position{epoch_, lsn};
    return in_time;
}

void Rounds::take(Round& round) {
    const bool first = rounds_ == 0;
    // What was changed under a name that had gone before the sink looked may live on under one of which nothing tells.
    if (first && from_before_ && touched_.all_links()) touched_.add_everything();
    round.search = round.search || (first && touched_.lost_content());
    round.links = round.links || touched_.all_links();
    auto paths = touched_.take();
    round.paths.insert(round.paths.end(), std::make_move_iterator(paths.begin()), std::make_move_iterator(paths.end()));
}

bool Rounds::is_small(const Round& round) const {
    if (round.links || round.search) return false;
    Estimate estimate(dir_, limits_);
    for (std::size_t i = 0; i < round.paths.size() && !estimate.too_much(); ++i) estimate.add(round.paths[i]);
    return !estimate.too_much();
}

Answer<Rounds::Round> Rounds::next() {
    Round round;
    take(round);
    const auto now = monotonic_ns();
    const auto took_ms = (now - std::exchange(began_ns_, now)) / 1'000'000;
    const bool at_any_rate = ++rounds_ >= limits_.max_rounds;
    if (!at_any_rate && !is_small(round)) return round;

    // Programs that change as much in a round as is made equal in it would go on so for ever: then they wait for one.
    const std::uint64_t patient_ms = at_any_rate ? std::min<std::uint64_t>(2 * took_ms, limits_.longest_hold_ms) : 0;
    hold_.emplace(writers_, std::chrono::milliseconds(std::max<std::uint64_t>(limits_.hold_limit_ms, patient_ms)));
    while (reader_.position() < hold_->lsn()) {
        const auto read = read_one();
        if (!read) return Unexpected<Unreadable>(read.error());
        if (*read == Read::kTail && reader_.position() < hold_->lsn()) {
            return Unexpected<Unreadable>("the master's journal ends before its tail");
        }
    }
    if (auto why = ahead_of_history(journal_); !why.empty()) return Unexpected<Unreadable>(std::move(why));
    // Writers were faster than we until they were held: the hold would be too long.
    Round late;
    take(late);
    round.last = at_any_rate || is_small(late);
    if (!round.last) hold_.reset();
    round.links = round.links || late.links;
    round.paths.insert(round.paths.end(), std::make_move_iterator(late.paths.begin()),
                       std::make_move_iterator(late.paths.end()));
    return round;
}

}  // namespace tdfs

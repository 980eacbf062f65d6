#include "common/resync/inspector.hpp"

#include <algorithm>

#include "common/resync/answerer.hpp"
#include "proto/path.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kMaxLooks = 4;
constexpr std::size_t kLookBlocks = 32;            // of one look without details
constexpr std::size_t kLookPathBytes = 96 * 1024;  // of one look
constexpr std::uint32_t kMaxMovedRounds = 4;
constexpr std::size_t kMaxKnown = 1'000'000;
constexpr std::uint64_t kStuckNs = 10'000'000'000;  // a replay that stands still for so long is waited for no more
constexpr double kBurstSeconds = 0.25;
// An object that is not there, or another, has no differences besides: all of it is made.
constexpr std::uint32_t kOfTheWhole = difference::kMissing | difference::kExtra | difference::kType;

}  // namespace

Inspector::Inspector(int root, InspectStart order, ReplayGate& gate)
    : root_(root),
      order_(std::move(order)),
      gate_(gate),
      walk_(root, order_.full, order_.repair),
      look_items_(kMaxLookItems) {
    whole_ = order_.paths.empty();
    gate_.watch(this);
    if (whole_) walk_.add_path("", true, 1.0);
    for (const auto& path : order_.paths) {
        whole_ = whole_ || path.empty();
        walk_.add_path(path, order_.id != 0, 1.0 / static_cast<double>(order_.paths.size()));
    }
}

Inspector::~Inspector() {
    gate_.unwatch(this);
    for (const auto& look : looks_) {
        if (look.step) look.step->cancelled = true;
    }
}

InspectCounts Inspector::counts() const {
    InspectCounts c = counts_;
    c.files = walk_.files();
    c.bytes = walk_.bytes();
    return c;
}

std::uint32_t Inspector::share() const {
    return done_ ? 1'000'000 : static_cast<std::uint32_t>(std::clamp(walk_.share(), 0.0, 0.999) * 1e6);
}

std::vector<Finding> Inspector::take_findings() { return std::exchange(findings_, {}); }

void Inspector::found(Finding f) {
    if (f.kinds == difference::kUnreadable) {
        ++counts_.unreadable;
    } else if (known_.size() < kMaxKnown) {
        const auto [path, fresh] = known_.try_emplace(std::hash<std::string>()(f.path), Known{f.healed, 0});
        Known& known = path->second;
        if (fresh) ++counts_.differences;
        if (fresh && f.healed) ++counts_.healed;
        if (known.healed && !f.healed) {
            known.healed = false;
            --counts_.healed;
        } else if (known.healed == f.healed && f.detail.empty()) {  // only what is new is told
            f.kinds &= ~known.kinds;
            if ((known.kinds & kOfTheWhole) != 0 || f.kinds == 0) return;
        }
        known.kinds |= f.kinds;
    } else {
        ++counts_.differences;
        counts_.healed += f.healed ? 1 : 0;
    }
    findings_.push_back(std::move(f));
}

bool Inspector::ask(Bytes& out, std::uint64_t now_ns) {
    if (done_) return false;
    if (order_.rate != 0) {
        const double rate = static_cast<double>(order_.rate);
        const double seconds = refilled_ns_ == 0 ? kBurstSeconds : static_cast<double>(now_ns - refilled_ns_) / 1e9;
        refilled_ns_ = now_ns;
        tokens_ = std::min(tokens_ + seconds * rate, kBurstSeconds * rate) - static_cast<double>(walk_.cost() - spent_);
        spent_ = walk_.cost();
        // What is in flight is not paid for yet: with a rate, one question at a time.
        if (tokens_ <= 0 || !asked_.empty()) return false;
    }
    if (ask_look(out)) return true;
    const auto asked = walk_.ask(out);
    if (asked == InspectWalk::Asked::kNothing) return false;
    asked_.push_back(asked);
    return true;
}

bool Inspector::ask_look(Bytes& out) {
    auto& waiting = singles_.empty() ? walk_.suspects : singles_;
    if (waiting.empty() || looks_.size() >= kMaxLooks) return false;
    const std::size_t limit = singles_.empty() ? look_items_ : 1;
    Look m;
    Looking look;
    std::size_t blocks = 0;
    std::size_t bytes = 0;
    while (!waiting.empty() && m.items.size() < limit && bytes < kLookPathBytes) {
        Suspect& s = waiting.front();
        blocks += s.blocks.size();
        if (!m.items.empty() && blocks > (order_.repair ? kMaxDetailedBlocks : kLookBlocks)) break;
        bytes += s.path.size() + s.other.size();
        m.items.push_back({s.path, order_.repair, s.blocks});
        if (!s.other.empty()) m.items.push_back({s.other, false, {}});
        look.suspects.push_back(std::move(s));
        waiting.pop_front();
        if (m.items.size() + 2 > kMaxLookItems) break;
    }
    Answerer::say(out, MessageKind::kLook, m);
    looks_.push_back(std::move(look));
    asked_.push_back(InspectWalk::Asked::kNothing);
    return true;
}

Result<bool, DecodeError> Inspector::receive(MessageKind kind, ByteView payload) {
    if (asked_.empty()) return bad("an answer to no question");
    const InspectWalk::Asked asked = asked_.front();
    Result<bool, DecodeError> answered = true;
    if (kind == MessageKind::kCannot) {
        const auto m = decode_Cannot(payload);
        if (!m) return Unexpected<DecodeError>(m.error());
        if (asked == InspectWalk::Asked::kNothing) {
            const auto first = std::find_if(looks_.begin(), looks_.end(), [](const auto& l) { return !l.step; });
            retry(*first, m->text);
            looks_.erase(first);
        } else {
            walk_.give_up(asked, m->text);
        }
    } else if (kind == MessageKind::kListPart && asked == InspectWalk::Asked::kList) {
        auto m = decode_ListPart(payload);
        if (!m) return Unexpected<DecodeError>(m.error());
        answered = walk_.on(std::move(*m));
    } else if (kind == MessageKind::kStatReply && asked == InspectWalk::Asked::kStat) {
        const auto m = decode_StatReply(payload);
        if (!m) return Unexpected<DecodeError>(m.error());
        walk_.on(*m);
    } else if (kind == MessageKind::kHashesReply && asked == InspectWalk::Asked::kHashes) {
        const auto m = decode_HashesReply(payload);
        if (!m) return Unexpected<DecodeError>(m.error());
        if (auto done = walk_.on(*m); !done) return Unexpected<DecodeError>(done.error());
    } else if (kind == MessageKind::kLooked && asked == InspectWalk::Asked::kNothing) {
        auto m = decode_Looked(payload);
        if (!m) return Unexpected<DecodeError>(m.error());
        answered = on(std::move(*m));
    } else {
        return bad("an answer to another question");
    }
    if (answered && *answered) asked_.pop_front();
    for (auto& f : std::exchange(walk_.unreadable, {})) found(std::move(f));
    return answered;
}

// Together they could not be looked at: then one by one, and the one that cannot be looked at is named.
void Inspector::retry(Looking& look, const std::string& why) {
    if (look.suspects.size() > 1) {
        for (auto& s : look.suspects) singles_.push_back(std::move(s));
        return;
    }
    Finding f;
    f.path = look.suspects.front().path;
    f.kinds = difference::kUnreadable;
    f.detail = why;
    found(std::move(f));
}

Result<bool, DecodeError> Inspector::on(Looked m) {
    const auto look = std::find_if(looks_.begin(), looks_.end(), [](const auto& l) { return !l.step; });
    auto step = std::make_shared<ExactStep>();
    step->lsn = m.lsn;
    step->repair = order_.repair;
    std::size_t used = 0;      // items
    std::size_t answered = 0;  // suspects
    for (const auto& s : look->suspects) {
        const std::size_t items = s.other.empty() ? 1 : 2;
        if (used + items > m.items.size()) break;
        for (std::size_t i = 0; i < items; ++i) {
            ExactItem item;
            item.path = i == 0 ? s.path : s.other;
            item.pair = i == 0 && items == 2;
            if (i == 0) item.blocks = s.blocks;
            item.master = std::move(m.items[used + i]);
            step->items.push_back(std::move(item));
        }
        used += items;
        ++answered;
    }
    if (used != m.items.size() && answered == look->suspects.size())
        return bad("more was looked at than was asked for");
    // The others come back to the front; where writers could not be held for so many, fewer are asked for.
    if (!m.held) look_items_ = std::max<std::size_t>(look_items_ / 2, 1);
    for (std::size_t i = look->suspects.size(); i > answered; --i) {
        walk_.suspects.push_front(std::move(look->suspects[i - 1]));
    }
    look->suspects.resize(answered);
    if (answered == 0) {
        looks_.erase(look);
        return true;
    }
    look->step = step;
    for (ExactItem& item : step->items) item.own = gate_.is_left_out(item.path);
    const auto exactly_there = [step, root = root_, salvage = gate_.salvage()] {
        if (step->cancelled) return false;
        ExactTree tree(root, salvage);
        const bool changed = tree.run(*step);
        step->done.store(true, std::memory_order_release);
        return changed;
    };
    gate_.meet(m.lsn, {exactly_there, [step] { step->missed.store(true, std::memory_order_release); }});
    return true;
}

// The replay was beyond the place that the master showed: it is asked for another one.
void Inspector::look_again(Looking look) {
    for (auto s = look.suspects.rbegin(); s != look.suspects.rend(); ++s) walk_.suspects.push_front(std::move(*s));
}

void Inspector::turn(std::uint64_t now_ns) {
    if (done_) return;
    while (!looks_.empty() && looks_.front().step) {
        const bool missed = looks_.front().step->missed.load(std::memory_order_acquire);
        if (!missed && !looks_.front().step->done.load(std::memory_order_acquire)) break;
        Looking look = std::move(looks_.front());
        looks_.pop_front();
        if (missed) {
            look_again(std::move(look));
            continue;
        }
        std::size_t at = 0;
        for (const auto& s : look.suspects) {
            take(s, look.step->items[at], look.step->results[at]);
            at += s.other.empty() ? 1 : 2;
        }
    }
    const bool waiting = !looks_.empty() && looks_.front().step;
    const std::string stuck = waiting ? gate_.stuck() : std::string();
    if (stuck.empty()) {
        stuck_since_ns_ = 0;
    } else if (stuck_since_ns_ == 0) {
        stuck_since_ns_ = now_ns;
    } else if (now_ns - stuck_since_ns_ > kStuckNs) {
        error_ = "the replay does not go on: " + stuck;
        done_ = true;
    }
    if (!done_ && walk_.idle() && looks_.empty() && singles_.empty() && asked_.empty()) after_walk();
}

void Inspector::take(const Suspect& s, const ExactItem& item, const ExactResult& r) {
    const bool same = r.kinds == 0;
    if (s.file) {
        --s.file->suspects;
        if (!same) s.file->differs = true;
        const bool more = s.file->next < s.file->size;
        if (s.file->suspects == 0 && more && (order_.repair || !s.file->differs)) walk_.add_file(s.file);
        if (s.file->suspects == 0 && !more) walk_.finish_file(*s.file);
    }
    if (same) {
        if (s.named && !item.master.entry && r.ino == 0 && r.detail.empty()) {
            Finding f;
            f.path = s.path;
            f.kinds = difference::kUnreadable;
            f.detail = "neither the master nor the replica has such a name";
            found(std::move(f));
        }
        return;
    }
    if (order_.repair && r.no_place) {  // heals the directory first, which leads here again
        Suspect parent;
        parent.path = std::string(parent_of(s.path));
        parent.named = s.named;
        walk_.suspects.push_back(std::move(parent));
        return;
    }
    Finding f;
    f.path = s.path;
    f.kinds = r.kinds;
    f.healed = r.healed;
    f.detail = r.detail;
    found(std::move(f));
    // Whoever changed a name changed the time of its directory.
    const bool renamed = (r.kinds & (difference::kMissing | difference::kExtra | difference::kType)) != 0;
    if (order_.repair && renamed && !s.path.empty() && last_parent_ != parent_of(s.path)) {
        last_parent_ = parent_of(s.path);
        Suspect parent;
        parent.path = last_parent_;
        walk_.suspects.push_back(std::move(parent));
    }
    if (!order_.repair || !item.master.entry) return;
    const Entry& e = *item.master.entry;
    if (S_ISDIR(e.mode)) {
        if (r.made) walk_.add_directory(s.path, 0, false);
        return;
    }
    if (S_ISREG(e.mode) && r.made && e.size != 0) {
        auto file = std::make_shared<FileTask>();
        file->path = s.path;
        file->object = e.object;
        file->size = e.size;
        file->look_at_end = true;
        walk_.add_file(std::move(file));
    }
    if (e.links < 2 || !r.made) return;
    // The other names of a file that was made: those to come are compared with it; where only some paths are inspected,
    // they have to be looked for.
    Entry here;
    here.object.ino = r.ino;
    here.links = 1;
    auto other = walk_.links().check(s.path, e, here);
    if (!other.empty() && other != s.path && s.other.empty()) {
        Suspect again;
        again.path = s.path;
        again.other = std::move(other);
        walk_.suspects.push_back(std::move(again));
    } else if (!whole_ && !links_walked_) {
        links_walked_ = true;
        walk_.add_directory("", 0, true);
    }
}

void Inspector::after_walk() {
    auto moved = gate_.take_moved(this);
    if (rounds_++ >= kMaxMovedRounds) moved = {};
    if (moved.all && rounds_ == 1) {  // once: with so many renames each walk would bring another
        walk_.add_directory("", 0, false);
        return;
    }
    for (auto& name : moved.names) {
        const auto inside = [&](const std::string& path) { return is_within(name, path); };
        if (whole_ || std::any_of(order_.paths.begin(), order_.paths.end(), inside)) {
            walk_.add_path(std::move(name), false, 0);
        }
    }
    done_ = walk_.idle();
}

}  // namespace tdfs

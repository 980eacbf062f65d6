// How a round goes: paths (Stat) and directories (List) are asked about first; Matcher compares the answers with the
// replica, sets what it can and puts the rest on the Agenda; then Transfers fetch it. When nothing is left the times of
// directories are set, and RoundDone asks for the next round: the paths that changed meanwhile. The end is the
// publisher's Resume, not ours.
#include "common/resync/sink.hpp"

#include <fcntl.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <set>

#include "common/resync/look_ahead.hpp"
#include "common/resync/matcher.hpp"
#include "common/resync/transfers.hpp"

namespace tdfs {
namespace {

constexpr std::size_t kMaxListsAsked = 64;
constexpr std::size_t kMaxStatsAsked = 128;
constexpr std::size_t kMaxTransfersListed = 200'000;  // above, fetching goes before listing further, until ...
constexpr std::size_t kFewTransfersListed = 100'000;
constexpr std::size_t kMaxTouchedPaths = 4'000'000;  // of one round; the source sends far fewer
constexpr std::size_t kAskedBytesOfOneCall = 256 * 1024;
constexpr std::uint64_t kProgressNs = 500'000'000;
constexpr std::uint64_t kSyncBytes = 16ull << 20;  // a round that fetched more is written back before it ends

}  // namespace

class ResyncSink::Impl {
  public:
    Impl(int root, const ResyncStart& start, MayRemove may_remove, Salvage* salvage)
        : full_(start.full),
          tree_(root, LocalTree::Stage::kOwn, std::move(may_remove), Keeping{salvage}),
          ahead_(root),
          matcher_(tree_, links_, agenda_),
          transfers_(tree_, links_, agenda_, start.full ? Transfers::Read::kFromDisk : Transfers::Read::kAsShown) {
        TouchedPath whole;
        whole.deep = true;
        agenda_.paths.push_back(std::move(whole));
        fail_on(tree_.prepare());
    }

    Result<void, DecodeError> receive(MessageKind kind, ByteView payload) {
        if (!failed_.empty()) return {};
        auto taken = take(kind, payload);
        publish();
        return taken;
    }

    bool produce(Bytes& out) {
        if (!failed_.empty()) return false;
        const auto before = out.size();
        bool asked = true;
        while (failed_.empty() && asked && working_ && out.size() - before < kAskedBytesOfOneCall) {
            asked = ask(out) || begin_search();
        }
        if (failed_.empty() && working_ && idle()) finish_round(out);
        const auto now = monotonic_ns();
        if (now - told_ns_ >= kProgressNs) tell_progress(out, now);
        publish();
        return failed_.empty() && out.size() != before;
    }

    [[nodiscard]] std::string failed() const { return failed_; }
    [[nodiscard]] bool disk_failed() const { return disk_failed_; }
    [[nodiscard]] Progress progress() const {
        const std::lock_guard lock(mutex_);
        return progress_;
    }
    [[nodiscard]] Counts counts() const {
        const std::lock_guard lock(mutex_);
        return counts_;
    }

  private:
    // A directory whose list is coming.
    struct Listing {
        DirectoryTask task;
        bool opened = false;
        OwnFd dir;                       // none: it is not there (any more)
        std::vector<std::string> names;  // of the replica, sorted; those before `next` are done
        std::size_t next = 0;
        std::string last_name;  // the master's
    };
    // What an answer in front must be about.
    enum class Asked { kList, kStat, kTransfer };

    template <class Message>
    static void say(Bytes& out, MessageKind kind, const Message& m) {
        const auto frame = message(kind, encode(m), wall_clock_ns());
        out.insert(out.end(), frame.begin(), frame.end());
    }
    void fail_on(const Done& done) {
        if (!done && failed_.empty()) failed_ = done.error();
    }

    bool idle() const { return asked_.empty() && all_looked_at() && agenda_.transfers.empty() && transfers_.idle(); }
    bool all_looked_at() const {
        return agenda_.paths.empty() && agenda_.directories.empty() && stats_.empty() && listings_.empty();
    }

    bool ask(Bytes& out) {
        const auto waiting = agenda_.transfers.size();
        fetch_first_ = waiting > (fetch_first_ ? kFewTransfersListed : kMaxTransfersListed);
        if (!agenda_.paths.empty() && stats_.size() < kMaxStatsAsked) {
            say(out, MessageKind::kStat, StatRequest{agenda_.paths.front().path});
            stats_.push_back(std::move(agenda_.paths.front()));
            agenda_.paths.pop_front();
            asked_.push_back(Asked::kStat);
            return true;
        }
        if (!agenda_.directories.empty() && listings_.size() < kMaxListsAsked && !fetch_first_) {
            say(out, MessageKind::kList, ListRequest{agenda_.directories.back().path});
            ahead_.soon(agenda_.directories.back().path);
            listings_.emplace_back();
            listings_.back().task = std::move(agenda_.directories.back());
            agenda_.directories.pop_back();
            asked_.push_back(Asked::kList);
            return true;
        }
        if (!fetch_first_ && !all_looked_at()) return false;
        const auto asked = transfers_.ask(out);
        if (!asked) {
            fail_on(Unexpected<std::string>(asked.error()));
            return false;
        }
        if (*asked) asked_.push_back(Asked::kTransfer);
        return asked->has_value();
    }

    // Objects that were changed under a name which had gone before round 0 looked, and of which it saw one name at most: the lists say
    // under which name they live on, if they do.
    bool begin_search() {
        if (!idle() || searching_ || lost_.empty() || !failed_.empty()) return false;
        searching_ = true;
        agenda_.directories.push_back({std::string(), Compare::kQuick});
        return true;
    }

    void finish_round(Bytes& out) {
        lost_.clear();
        searching_ = false;
        fail_on(tree_.finish_directories());
        const auto fetched = transfers_.counts().fetched_bytes;
        if (fetched - synced_bytes_ >= kSyncBytes) {
            const auto done = tree_.sync();
            disk_failed_ = !done;
            fail_on(done);
            synced_bytes_ = fetched;
        }
        if (!failed_.empty()) return;
        working_ = false;
        publish();
        tell_progress(out, monotonic_ns());
        const auto done = message(MessageKind::kRoundDone, {}, wall_clock_ns());
        out.insert(out.end(), done.begin(), done.end());
    }

    Result<void, DecodeError> take(MessageKind kind, ByteView payload) {
        switch (kind) {
            case MessageKind::kListPart:
                return take_as(Asked::kList, decode_ListPart(payload));
            case MessageKind::kStatReply:
                return take_as(Asked::kStat, decode_StatReply(payload));
            case MessageKind::kRangePart:
                return take_as(Asked::kTransfer, decode_RangePart(payload));
            case MessageKind::kRangeEnd:
                return take_as(Asked::kTransfer, decode_RangeEnd(payload));
            case MessageKind::kXattrsReply:
                return take_as(Asked::kTransfer, decode_XattrsReply(payload));
            case MessageKind::kTouched: {
                auto m = decode_Touched(payload);
                if (!m) return Unexpected<DecodeError>(m.error());
                return on(std::move(*m));
            }
            default:
                return bad("not an answer of a resync");
        }
    }
    template <class Message>
    Result<void, DecodeError> take_as(Asked what, Result<Message, DecodeError> m) {
        if (!m) return Unexpected<DecodeError>(m.error());
        if (asked_.empty() || asked_.front() != what) return bad("an answer to no question");
        return on(std::move(*m));
    }

    Result<void, DecodeError> on(RangePart m) {
        const auto fits = transfers_.expects_range() ? transfers_.part(m) : Result<bool, std::string>(false);
        if (!fits) fail_on(Unexpected<std::string>(fits.error()));
        if (fits && !*fits) return bad("content that was not asked for");
        return {};
    }
    Result<void, DecodeError> on(RangeEnd m) {
        if (!transfers_.expects_range()) return bad("the end of a range that was not asked for");
        asked_.pop_front();
        fail_on(transfers_.end(m));
        return {};
    }
    Result<void, DecodeError> on(XattrsReply m) {
        if (transfers_.expects_range()) return bad("extended attributes that were not asked for");
        asked_.pop_front();
        fail_on(transfers_.xattrs(m));
        return {};
    }

    Result<void, DecodeError> on(StatReply m) {
        const TouchedPath t = std::move(stats_.front());
        stats_.pop_front();
        asked_.pop_front();
        if (m.entry && !m.entry->name.empty()) return bad("an entry with a name where none belongs");
        if (m.entry) ++listed_;
        fail_on(handle(t, m.entry));
        return {};
    }

    Done handle(const TouchedPath& t, std::optional<Entry>& entry) {
        const bool same_object = entry && entry->object == t.object;
        MatchDepth depth;
        depth.recurse = t.deep;
        depth.beneath = round_ == 0 && !full_ ? Compare::kQuick : Compare::kAll;
        depth.content = !t.content         ? MatchDepth::Content::kKeep
                        : t.ranges.empty() ? MatchDepth::Content::kAll
                                           : MatchDepth::Content::kRanges;
        depth.ranges = t.ranges;
        if (t.path.empty()) return entry ? matcher_.match_root(*entry, depth) : Done{};
        const auto at = tree_.spot(t.path);
        if (!at) return Unexpected<std::string>(at.error());
        // Where the directory is not here, what is to be in it comes with it.
        if (!*at) {
            links_.drop_name(t.path);
        } else if (entry) {
            if (auto done = matcher_.match(**at, std::move(*entry), depth); !done) return done;
        } else {
            if (auto done = matcher_.remove(**at); !done) return done;
        }
        if (t.object == ObjectId{} || (same_object && *at)) return {};
        // The object that was changed under this name lives on under others.
        const LinkGroup* group = links_.find(t.object);
        if (group == nullptr || group->names.empty()) {
            if (round_ == 1 && t.content) lost_.insert(t.object);
            return {};
        }
        TouchedPath other = t;
        other.path = *group->names.begin();
        other.deep = false;
        agenda_.paths.push_back(std::move(other));
        return {};
    }

    Result<void, DecodeError> on(ListPart m) {
        Listing& l = listings_.front();
        if (!l.opened) {
            const auto begin = monotonic_ns();
            fail_on(open(l));
            ahead_.took(monotonic_ns() - begin, l.names.size());
        }
        for (Entry& e : m.entries) {
            if (e.name <= l.last_name) return bad("entries out of order");
            if (l.task.path.empty() && e.name == kStateName) return bad("the state directory in a list");
            l.last_name = e.name;
            ++listed_;
            if (l.dir && failed_.empty()) fail_on(handle(l, std::move(e)));
        }
        if (!m.last && !m.absent) return {};
        // An absent directory is removed by the round that knows why.
        if (l.dir && !m.absent) {
            while (l.next < l.names.size() && failed_.empty()) fail_on(remove_next(l));
        }
        listings_.pop_front();
        asked_.pop_front();
        return {};
    }

    Done open(Listing& l) {
        l.opened = true;
        auto dir = tree_.open(l.task.path, O_RDONLY | O_DIRECTORY);
        if (!dir) {
            const int e = dir.error().value();
            if (e == ENOENT || e == ENOTDIR || e == ELOOP) return {};  // removed again in this round
            return cannot("open", l.task.path, dir.error());
        }
        auto names = read_dir(dir->get());
        if (!names) return cannot("read", l.task.path, names.error());
        for (auto& n : *names) {
            if (!l.task.path.empty() || n.name != kStateName) l.names.push_back(std::move(n.name));
        }
        std::sort(l.names.begin(), l.names.end());
        l.dir = std::move(*dir);
        return {};
    }

    Done handle(Listing& l, Entry e) {
        while (l.next < l.names.size() && l.names[l.next] < e.name) {
            if (auto done = remove_next(l); !done) return done;
        }
        if (l.next < l.names.size() && l.names[l.next] == e.name) ++l.next;
        const Spot at{l.dir.get(), join(l.task.path, e.name), e.name};
        MatchDepth depth;
        depth.recurse = true;
        depth.beneath = l.task.how;
        const bool quick = l.task.how == Compare::kQuick && !lost_.contains(e.object);
        depth.content = quick ? MatchDepth::Content::kQuick : MatchDepth::Content::kAll;
        e.name.clear();
        return matcher_.match(at, std::move(e), depth);
    }

    Done remove_next(Listing& l) {
        const std::string& name = l.names[l.next++];
        return matcher_.remove(Spot{l.dir.get(), join(l.task.path, name), name});
    }

    Result<void, DecodeError> on(Touched m) {
        if (working_) return bad("the next round before the last one is done");
        if (agenda_.paths.size() + m.paths.size() > kMaxTouchedPaths) return bad("too many touched paths");
        for (TouchedPath& t : m.paths) {
            if (is_within(t.path, kStateName)) return bad("the state directory among touched paths");
            agenda_.paths.push_back(std::move(t));
        }
        if (m.more) return {};
        ++round_;
        matcher_.begin_round(round_);
        if (m.links) {
            for (auto& [path, object] : links_.all()) agenda_.add_path(std::move(path), object, true);
        }
        working_ = true;
        return {};
    }

    void tell_progress(Bytes& out, std::uint64_t now) {
        publish();
        say(out, MessageKind::kProgress, progress_);
        told_ns_ = now;
    }
    void publish() {
        const auto& fetched = transfers_.counts();
        const std::lock_guard lock(mutex_);
        progress_.files_total = agenda_.files;
        progress_.files_done = fetched.files_done;
        progress_.bytes_total = agenda_.bytes;
        progress_.bytes_done = working_ ? std::min(fetched.bytes_done, agenda_.bytes) : agenda_.bytes;
        progress_.counting = working_ && !all_looked_at();
        progress_.round = round_;
        counts_ = {listed_,
                   fetched.fetched_files,
                   fetched.fetched_bytes,
                   matcher_.removed(),
                   matcher_.metadata(),
                   fetched.xattrs_left};
    }

    const bool full_;
    LocalTree tree_;
    LinkGroups links_;
    Agenda agenda_;
    LookAhead ahead_;
    Matcher matcher_;
    Transfers transfers_;

    std::deque<Asked> asked_;  // in flight, all kinds
    std::deque<TouchedPath> stats_;
    std::deque<Listing> listings_;
    std::set<ObjectId> lost_;  // of this round
    bool searching_ = false;
    bool working_ = true;  // false: RoundDone is out
    bool fetch_first_ = false;
    std::uint32_t round_ = 0;
    std::uint64_t listed_ = 0;
    std::uint64_t synced_bytes_ = 0;
    std::uint64_t told_ns_ = 0;
    std::string failed_;
    bool disk_failed_ = false;

    mutable std::mutex mutex_;
    Progress progress_;
    Counts counts_;
};

ResyncSink::ResyncSink(int root, const ResyncStart& start, MayRemove may_remove, Salvage* salvage)
    : impl_(std::make_unique<Impl>(root, start, std::move(may_remove), salvage)) {}
ResyncSink::~ResyncSink() = default;

Result<void, DecodeError> ResyncSink::receive(MessageKind kind, ByteView payload) {
    return impl_->receive(kind, payload);
}
bool ResyncSink::produce(Bytes& out) { return impl_->produce(out); }
std::string ResyncSink::failed() const { return impl_->failed(); }
bool ResyncSink::disk_failed() const { return impl_->disk_failed(); }
Progress ResyncSink::progress() const { return impl_->progress(); }
ResyncSink::Counts ResyncSink::counts() const { return impl_->counts(); }

}  // namespace tdfs
